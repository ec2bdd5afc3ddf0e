package server_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// lively is a platform on which much has happened: apps that hear all, fail,
// stand still or are gone, deliveries in each state with their attempts, calls,
// notifications, and a history of some hours. Its pages have something to show.
func lively(t testing.TB) *platform {
	t.Helper()
	p := start(t)
	app := p.opens()
	app.does(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/init") {
			_, _ = io.WriteString(w, `{"url":"`+app.url+`/opened"}`)
			return
		}
		_, _ = io.WriteString(w, `{"text_message":"تخفیف ثبت شد؛ قیمت تازه ۷۹٬۰۰۰٬۰۰۰ تومان است."}`)
	})
	p.host("PATCH", "/apps/sample-app", `{"display":"دستیار فروش","subtitle":"پاسخ خودکار و تخفیف در چت","cities":["tehran","shiraz"],"categories":["bicycle"]}`).ok()

	failing := newReceiver(p.t)
	var down atomic.Bool
	failing.respond(func(w http.ResponseWriter, _ *http.Request) {
		if down.Load() {
			http.Error(w, `{"error":"database is down"}`, http.StatusInternalServerError)
		}
	})
	gone := newReceiver(p.t)
	gone.respond(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) })
	for _, a := range []struct{ slug, display, status, url string }{
		{"price-guide", "راهنمای قیمت", "PRODUCTION", failing.url},
		{"courier", "پیک شهر", "PRODUCTION", p.hook.url},
		{"inspector", "کارشناسی در محل", "DEVELOPMENT", gone.url},
		{"old-shop", "Old shop", "SUSPENDED", ""},
	} {
		p.host("POST", "/apps", fmt.Sprintf(`{"slug":%q,"display":%q,"subtitle":"…","status":%q,"event_url":%q,"permissions":["EVENTS_REGISTER_SUBSCRIPTION"],
			"oauth_scopes":["CHAT_SUPPLIER_ALL_CONVERSATIONS_READ","USER_POSTS_GET","USER_ID"],"identification_key":"a-key-of-its-own"}`, a.slug, a.display, a.status, a.url)).ok()
	}
	const subscriptions = "/v1/open-platform/events/subscriptions"
	for _, slug := range []string{"sample-app", "price-guide", "courier", "inspector"} {
		key := p.newKey(slug, `["EVENTS_REGISTER_SUBSCRIPTION"]`)
		token := p.tokenOf(slug, "seller", "720h", "CHAT_SUPPLIER_ALL_CONVERSATIONS_READ", "USER_POSTS_GET", "USER_ID")
		for _, body := range []string{`{"event_type":"NEW_MESSAGE_ON_POST","metadata":{"shop":"velenjak"}}`, `{"event_type":"POST_UPDATE"}`} {
			p.do("POST", subscriptions, body, "X-API-Key: "+key.Key, "Authorization: Bearer "+token).ok()
		}
	}
	talk := []struct{ side, text string }{
		{"BUYER", "سلام، دوچرخه هنوز موجود است؟"},
		{"SELLER", "سلام، بله موجود است."},
		{"BUYER", "آخرش چند می‌دهید؟"},
		{"SELLER", "قیمت در آگهی مقطوع است؛ برای شما کمی تخفیف می‌دهم."},
		{"BUYER", "Is the frame size 52 or 54?"},
		{"SELLER", "It is a 54."},
		{"BUYER", "امروز عصر می‌توانم ببینم؟"},
		{"SELLER", "بله، بعد از ساعت ۶."},
	}
	for i, line := range talk {
		p.say(line.side, line.text)
		if i%2 == 1 {
			p.advance("97m")
		}
		down.Store(i >= len(talk)/2)
	}
	p.host("POST", "/conversations/"+p.dev.BotConversationID+"/messages", `{"sender":"USER","text":"سلام، چه کمکی از تو برمی‌آید؟"}`).ok()
	p.app("POST", "/v1/open-platform/chat/bot/conversations/"+p.dev.BotConversationID+"/messages", "",
		`{"text_message":"سلام! می‌توانم برای آگهی شما تخفیف بگذارم.","buttons":{"rows":[{"buttons":[
			{"caption":"تخفیف بگذار","icon":"HOME","action":{"get_dynamic_action":{"data":{"percent":7}}}},
			{"caption":"باز کن","action":{"open_server_link":{"data":{"page":"home"}}}}]}]}}`).ok()
	p.sends(`{"message":"این دوچرخه با ضمانت بازگشت فروخته می‌شود.","receiver_buttons":{"rows":[{"buttons":[{"caption":"دیدن ضمانت","action":{"open_server_link":{"data":{"page":"warranty"}}}}]}]}}`)
	p.notifies(`{"items":[{"title":"دیدن پیشنهاد","action":{"get_dynamic_action":{"data":{"offer":1}}}}]}`)
	p.open(`{"touchpoint":"CHAT","user":"buyer","conversation_id":"` + p.dev.ConversationID + `","return_url":"https://market.test/"}`).ok()
	p.pay("tr-1001", "courier")
	p.host("PUT", "/posts/"+p.dev.PostToken, `{"owner":"seller","title":"دوچرخه شهری","state":"PUBLISHED","category":"bicycle","city":"tehran","district":"velenjak",
		"chat_enabled":true,"data":{"title":"دوچرخه شهری","price":79000000}}`).ok()
	p.settle()
	p.host("PATCH", "/apps/courier", `{"paused":true}`).ok()
	p.say("BUYER", "پس ساعت ۷ می‌آیم.")
	p.host("DELETE", "/users/seller/grants/courier", "").ok()
	p.host("PATCH", "/apps/courier", `{"paused":false}`).ok()
	p.say("SELLER", "منتظرم.")
	p.settle()
	p.hook.take()
	for _, state := range []string{"pending", "delivered", "exhausted", "canceled"} {
		if len(p.deliveries("state="+state)) == 0 {
			t.Fatalf("there is no %s delivery to show", state)
		}
	}
	return p
}
