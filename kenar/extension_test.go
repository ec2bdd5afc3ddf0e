package kenar_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openkenar/openkenar/kenar"
)

func sessions(t testing.TB, open func(context.Context, *kenar.SessionRequest) (string, error)) *kenar.SessionHandler {
	t.Helper()
	h, err := kenar.NewSessionHandler(kenar.SessionOptions{Callers: kenar.Callers{Keys: []string{key}}, Open: open, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func clicks(t testing.TB, click func(context.Context, *kenar.ActionRequest) (kenar.ActionAnswer, error)) *kenar.ActionHandler {
	t.Helper()
	h, err := kenar.NewActionHandler(kenar.ActionOptions{Callers: kenar.Callers{Keys: []string{key}}, Click: click, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestSessionRequest(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		body string
		want kenar.SessionRequest
	}{
		{
			`{"return_url":"https://back","source":"CHAT","post_token":"p","conversation_id":"c","user_side":"Supply","user_id":"u","extra_data":{"a":1},"provider_data":{"a":1}}`,
			kenar.SessionRequest{ReturnURL: "https://back", Source: "CHAT", PostToken: "p", ConversationID: "c", UserSide: kenar.SideSupply, UserID: "u", ExtraData: json.RawMessage(`{"a":1}`)},
		},
		{
			`{"return_url":"https://back","source":"MY_POST","post_token":null,"conversation_id":null,"user_side":null,"user_id":null,"extra_data":{},"more":[1]}`,
			kenar.SessionRequest{ReturnURL: "https://back", Source: "MY_POST", ExtraData: json.RawMessage(`{}`)},
		},
		{`{"provider_data":{"a":1}}`, kenar.SessionRequest{ExtraData: json.RawMessage(`{"a":1}`)}},
		{`{"extra_data":null,"provider_data":{"a":1}}`, kenar.SessionRequest{ExtraData: json.RawMessage(`{"a":1}`)}},
		{`{"extra_data":null,"provider_data":null,"user_side":"demand"}`, kenar.SessionRequest{UserSide: kenar.SideDemand, ExtraData: json.RawMessage(`{}`)}},
		{`{"user_side":"Above"}`, kenar.SessionRequest{UserSide: "ABOVE", ExtraData: json.RawMessage(`{}`)}},
	} {
		var got *kenar.SessionRequest
		url := listen(t, sessions(t, func(_ context.Context, r *kenar.SessionRequest) (string, error) {
			got = r
			return "https://app.example/?a=1&b=<2>", nil
		}))
		a := authorized(t, url, test.body, "API_VERSION", "2", "API-Version", "2")
		if a.status != http.StatusOK || a.body != `{"url":"https://app.example/?a=1&b=<2>"}` || a.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %+v", test.body, a)
		} else if !reflect.DeepEqual(*got, test.want) {
			t.Errorf("%s: %+v, want %+v", test.body, *got, test.want)
		}
	}
}

func TestActionRequest(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		body string
		want kenar.ActionRequest
	}{
		{
			`{"touchpoint":"CHAT","post_token":"p","conversation_id":"c","user_side":"DEMAND","extra_data":{"a":1},"user_id":"u"}`,
			kenar.ActionRequest{Touchpoint: "CHAT", PostToken: "p", ConversationID: "c", UserSide: kenar.SideDemand, ExtraData: json.RawMessage(`{"a":1}`), UserID: "u"},
		},
		{`{"post_token":null,"conversation_id":null,"user_side":null,"user_id":null,"extra_data":null,"more":1}`, kenar.ActionRequest{ExtraData: json.RawMessage(`{}`)}},
		{`{}`, kenar.ActionRequest{ExtraData: json.RawMessage(`{}`)}},
	} {
		var got *kenar.ActionRequest
		url := listen(t, clicks(t, func(_ context.Context, r *kenar.ActionRequest) (kenar.ActionAnswer, error) {
			got = r
			return kenar.ActionAnswer{Action: new(kenar.OpenDirectLink("https://app.example/?a&b")), Text: "<b>"}, nil
		}))
		a := authorized(t, url, test.body)
		if a.status != http.StatusOK || a.body != `{"action":{"open_direct_link":"https://app.example/?a&b"},"text_message":"<b>"}` {
			t.Errorf("%s: %+v", test.body, a)
		} else if !reflect.DeepEqual(*got, test.want) {
			t.Errorf("%s: %+v, want %+v", test.body, *got, test.want)
		}
	}
}

// TestCalls: what is true of both handlers.
func TestCalls(t *testing.T) {
	t.Parallel()
	type says struct {
		page   string
		answer kenar.ActionAnswer
		err    error
		panics any
	}
	handlers := map[string]func(says) http.Handler{
		"session": func(s says) http.Handler {
			return sessions(t, func(context.Context, *kenar.SessionRequest) (string, error) {
				if s.panics != nil {
					panic(s.panics)
				}
				return s.page, s.err
			})
		},
		"action": func(s says) http.Handler {
			return clicks(t, func(context.Context, *kenar.ActionRequest) (kenar.ActionAnswer, error) {
				if s.panics != nil {
					panic(s.panics)
				}
				return s.answer, s.err
			})
		},
	}
	good := says{page: "https://app.example/", answer: kenar.ActionAnswer{Text: "x"}}
	const private = "https://hunter2@app.example/"
	bad := says{page: private, answer: kenar.ActionAnswer{Action: new(kenar.OpenDirectLink(private))}}
	for name, handler := range handlers {
		for _, test := range []struct {
			name, body string
			says       says
			header     []string
			status     int
			answer     string
		}{
			{"good", `{}`, good, []string{"Authorization", key}, 200, ""},
			{"no key", `{}`, good, nil, 401, "identification key"},
			{"wrong key", `{}`, good, []string{"Authorization", "x"}, 401, "identification key"},
			{"no body", ``, good, []string{"Authorization", key}, 400, "malformed JSON"},
			{"null", `null`, good, []string{"Authorization", key}, 400, "not a JSON object"},
			{"a list", `[]`, good, []string{"Authorization", key}, 400, "not a JSON object"},
			{"a wrong field", `{"user_id":7}`, good, []string{"Authorization", key}, 400, "user_id: a JSON number"},
			{"a wrong side", `{"user_side":7}`, good, []string{"Authorization", key}, 400, "a JSON number"},
			{"truncated", `{"user_id":"`, good, []string{"Authorization", key}, 400, "malformed JSON"},
			{"too much", `{"more":"` + strings.Repeat("x", 1<<20) + `"}`, good, []string{"Authorization", key}, 413, "body: more than"},
			{"the app fails", `{}`, says{err: errApp}, []string{"Authorization", key}, 500, "the app failed"},
			{"the app panics", `{}`, says{panics: errApp}, []string{"Authorization", key}, 500, "the app failed"},
			{"the app says nothing", `{}`, says{}, []string{"Authorization", key}, 500, "the app's own answer is wrong"},
			{"the app says what nobody takes", `{}`, bad, []string{"Authorization", key}, 500, "a user name or password in a URL is not allowed"},
		} {
			got := post(t, listen(t, handler(test.says)), strings.NewReader(test.body), test.header...)
			if got.status != test.status || !strings.Contains(got.body, test.answer) {
				t.Errorf("%s, %s: %+v, want %d %q", name, test.name, got, test.status, test.answer)
			}
			if strings.Contains(got.body, "kenar_orders") || strings.Contains(got.body, "hunter2") {
				t.Errorf("%s, %s: the answer tells of the app's inside: %s", name, test.name, got.body)
			}
		}
	}
}

func TestCallOptions(t *testing.T) {
	t.Parallel()
	open := func(context.Context, *kenar.SessionRequest) (string, error) { return "", nil }
	click := func(context.Context, *kenar.ActionRequest) (kenar.ActionAnswer, error) {
		return kenar.ActionAnswer{}, nil
	}
	keys := kenar.Callers{Keys: []string{key}}
	for says, o := range map[string]kenar.SessionOptions{
		"SessionOptions.Open: not set":               {Callers: keys},
		"SessionOptions.Callers.Keys: set the app's": {Open: open},
		"Callers.Addresses[0]":                       {Open: open, Callers: kenar.Callers{Keys: keys.Keys, Addresses: make([]netip.Prefix, 1)}},
		"must not be negative":                       {Open: open, Callers: keys, Timeout: -1},
	} {
		if _, err := kenar.NewSessionHandler(o); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
	for says, o := range map[string]kenar.ActionOptions{
		"ActionOptions.Click: not set":              {Callers: keys},
		"ActionOptions.Callers.Keys: set the app's": {Click: click},
		"Callers.Keys[0]: empty":                    {Click: click, Callers: kenar.Callers{Keys: []string{""}}},
		"must not be negative":                      {Click: click, Callers: keys, MaxBody: -1},
	} {
		if _, err := kenar.NewActionHandler(o); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}

// TestCallsEndInTime: before the platform gives up, the app does.
func TestCallsEndInTime(t *testing.T) {
	t.Parallel()
	for _, handler := range []http.Handler{
		sessions(t, func(ctx context.Context, _ *kenar.SessionRequest) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		}),
		clicks(t, func(ctx context.Context, _ *kenar.ActionRequest) (kenar.ActionAnswer, error) {
			<-ctx.Done()
			return kenar.ActionAnswer{}, ctx.Err()
		}),
	} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			got := through(t, overPipe(t, handler), strings.NewReader("{}"))
			if took := time.Since(start); got.status != http.StatusInternalServerError || took != 4*time.Second {
				t.Errorf("%+v after %s", got, took)
			}
		})
	}
}

// TestWrongAnswerIsLogged: the app's own log says what no platform would take.
func TestWrongAnswerIsLogged(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	h, err := kenar.NewSessionHandler(kenar.SessionOptions{
		Callers: kenar.Callers{Keys: []string{key}}, Log: slog.New(slog.NewTextHandler(&log, nil)),
		Open: func(context.Context, *kenar.SessionRequest) (string, error) { return "http://app.example/", nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := authorized(t, listen(t, h), "{}"); got.status != 500 || !strings.Contains(log.String(), "url: plain http; https is needed") {
		t.Errorf("%+v, logged %q", got, log.String())
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	type data struct {
		Order int64 `json:"order"`
	}
	for _, test := range []struct {
		raw  string
		want data
		says string
	}{
		{`{"order":9007199254740993}`, data{9007199254740993}, ""},
		{`{}`, data{}, ""},
		{`null`, data{}, ""},
		{``, data{}, ""},
		{`{"order":"7"}`, data{}, "kenar: decode kenar_test.data: json: cannot unmarshal string into Go struct field data.order"},
		{`[]`, data{}, "cannot unmarshal array"},
	} {
		got, err := kenar.Decode[data](json.RawMessage(test.raw))
		if test.says != "" {
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%s: %v, want %q", test.raw, err, test.says)
			}
			if _, ok := errors.AsType[*json.UnmarshalTypeError](err); !ok {
				t.Errorf("%s: %v hides what is wrong", test.raw, err)
			}
			continue
		}
		if err != nil || got != test.want {
			t.Errorf("%s: %+v %v", test.raw, got, err)
		}
	}
}
