package kenar_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openkenar/openkenar/kenar"
)

// hit hands a request to a handler, without a connection.
func hit(t testing.TB, h http.Handler, body []byte, header http.Header, from string) *httptest.ResponseRecorder {
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", bytes.NewReader(body))
	req.Header, req.RemoteAddr = header, from
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w
}

// FuzzReceiver: whatever comes, the callback hears only events that the key came
// with, each with the field of its type, and 200 is said of no other.
func FuzzReceiver(f *testing.F) {
	for _, body := range []string{
		textMessage, "", "{}", "null", "[]", `{"type":`, `{"type":"X"}`, `{"type":7}`, `{"type":"NEW_MESSAGE","new_message":null}`,
		`{"type":"NEW_CHATBOT_MESSAGE","metadata":{"openkenar_test":true},"new_chatbot_message":{"id":"m","conversation":{"id":"c","type":"BOT"},"sender":{"type":"HUMAN"},"type":"TEXT","sent_at":"2024-10-20T13:12:06.14Z","text":"/start"}}`,
		`{"type":"NEW_MESSAGE","new_message":{"type":"IMAGE","sent_at":"1729429926140000","image_data":{"size_bytes":"7","height_px":null}}}`,
		`{"type":"USER_ACCESS_REVOCATION","user_access_revocation":{"user_id":"u"}}`,
		`{"type":"POST_UPDATE","post_update":{"type":"ARCHIVE","post":{"token":"p","first_published_at":null,"data":{"x":[{}]}}}}`,
		`{"type":"PAYMENT_TRANSACTION","transaction":{"id":"t","cost_rials":1e3}}`, `{"type":"PAYMENT_TRANSACTION","payment_transaction":{"id":"t"}}`,
		`{"type":"NEW_MESSAGE","TYPE":"POST_UPDATE","new_message":{}}`, "{\"type\":\"\xff\"}", `{"type":"X","metadata":` + strings.Repeat("[", 11_000),
	} {
		f.Add([]byte(body), key, "1-app", "1", "1729429927")
	}
	f.Add([]byte(textMessage), "", "", "", "")
	f.Add([]byte(textMessage), "Bearer "+key, strings.Repeat("x", 500), "-1", "99999999999999999999")
	f.Add([]byte(textMessage), key+"\x00", "\xff", "1e3", "-1")
	f.Fuzz(func(t *testing.T, body []byte, said, id, attempt, timestamp string) {
		heard := 0
		r := receiver(t, keyed(func(_ context.Context, d *kenar.Delivery) error {
			heard++
			checkDelivery(t, d, body)
			return nil
		}))
		header := http.Header{
			"Authorization": {said}, "Webhook-Id": {id}, "Openkenar-Attempt": {attempt}, "Webhook-Timestamp": {timestamp},
		}
		w := hit(t, r, body, header, "127.0.0.1:1")
		switch {
		case said != key:
			if w.Code != http.StatusUnauthorized || heard != 0 {
				t.Fatalf("with the key %q: %d, heard %d", said, w.Code, heard)
			}
		case w.Code == http.StatusOK:
			var any map[string]json.RawMessage
			if err := json.Unmarshal(body, &any); err != nil {
				t.Fatalf("taken, but not a JSON object: %v", err)
			}
			// The types that have no callback here go to OnOther.
			if heard != 1 {
				t.Fatalf("taken, heard %d", heard)
			}
			again := hit(t, r, body, header, "127.0.0.1:1")
			if again.Code != http.StatusOK || id != "" && heard != 1 {
				t.Fatalf("the second time: %d, heard %d", again.Code, heard)
			}
		case w.Code != http.StatusBadRequest || heard != 0:
			t.Fatalf("%d %q, heard %d", w.Code, w.Body, heard)
		}
		if answer := w.Body.String(); strings.Contains(answer, key) && !bytes.Contains(body, []byte(key)) {
			t.Fatalf("the answer shows the key: %q", answer)
		}
	})
}

func checkDelivery(t *testing.T, d *kenar.Delivery, body []byte) {
	t.Helper()
	payload := map[kenar.EventType]bool{
		kenar.EventNewMessage: d.NewMessage != nil, kenar.EventNewChatbotMessage: d.NewChatbotMessage != nil,
		kenar.EventUserAccessRevocation: d.UserAccessRevocation != nil, kenar.EventPostUpdate: d.PostUpdate != nil,
		kenar.EventPaymentTransaction: d.Transaction != nil,
	}
	for typ, there := range payload {
		if there != (typ == d.Type) {
			t.Fatalf("%s, but of %s there: %t", d.Type, typ, there)
		}
	}
	if d.Type == "" || !bytes.Equal(d.Body, body) || len(d.RepeatKey()) > 128 || d.Attempt < 0 {
		t.Fatalf("it came as %+v", d)
	}
	if d.Metadata != nil && (!json.Valid(d.Metadata) || string(d.Metadata) == "null") {
		t.Fatalf("metadata %q", d.Metadata)
	}
	d.IsTest()
	// What was read can be written, and reads the same again.
	encoded, err := json.Marshal(d.Event)
	if err != nil {
		t.Fatal(err)
	}
	var again kenar.Event
	if err := json.Unmarshal(encoded, &again); err != nil {
		t.Fatalf("%v in %s", err, encoded)
	}
	if twice, err := json.Marshal(again); err != nil || !bytes.Equal(encoded, twice) {
		t.Fatalf("%s\n%s %v", encoded, twice, err)
	}
}

// FuzzSignature: what is taken carries a signature that a secret of the app
// really makes of this id, time and body, and was signed within the window.
func FuzzSignature(f *testing.F) {
	secrets := []string{secret, secret2}
	now := time.Now()
	for _, off := range []time.Duration{0, -4 * time.Minute, -6 * time.Minute, 4 * time.Minute, 6 * time.Minute} {
		h := sign(f, now.Add(off), textMessage, secrets...)
		f.Add([]byte(textMessage), h[1], int64(off/time.Second), "", h[5], true)
		f.Add([]byte(textMessage), h[1], int64(off/time.Second), "", "", true)
		f.Add([]byte(textMessage+" "), "2", int64(off/time.Second), "0", "v1, v2,x v1,=", false)
	}
	f.Add([]byte(`{"type":"X"}`), "", int64(0), "+", "v1,", false)
	f.Add([]byte(`{"type":"X"}`), "1.2", int64(1)<<62, " ", "v1", true)
	// With no secret an attacker knows only that of another app.
	theirs := "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("another app's", 3)))
	f.Fuzz(func(t *testing.T, body []byte, id string, off int64, prefix, signature string, genuine bool) {
		heard := 0
		r := receiver(t, kenar.ReceiverOptions{Secrets: secrets, Log: quiet, OnOther: func(context.Context, *kenar.Delivery) error {
			heard++
			return nil
		}})
		start := time.Now()
		timestamp := prefix + strconv.FormatInt(start.Unix()+off, 10)
		made := signature
		if genuine {
			made += " " + mac(t, secret2, id, timestamp, body)
		} else {
			made += " " + mac(t, theirs, id, timestamp, body)
		}
		w := hit(t, r, body, http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {timestamp}, "Webhook-Signature": {made}}, "127.0.0.1:1")
		at, err := strconv.ParseInt(timestamp, 10, 64)
		late := time.Since(start) + time.Second
		within := err == nil && time.Unix(at, 0).Sub(start).Abs() <= 5*time.Minute+late
		signed := func(s string) bool {
			return slices.Contains(strings.Split(made, " "), mac(t, s, id, strconv.FormatInt(at, 10), body))
		}
		if w.Code == http.StatusUnauthorized {
			if heard != 0 {
				t.Fatal("refused, but heard")
			}
			surely := err == nil && id != "" && time.Unix(at, 0).Sub(start).Abs() < 5*time.Minute-late
			if genuine && prefix == "" && surely && !strings.ContainsAny(signature, ", ") {
				t.Fatalf("a genuine webhook is refused: %s", w.Body)
			}
			return
		}
		if !within || id == "" || !signed(secret) && !signed(secret2) {
			t.Fatalf("%d %s: taken %s from now with %q", w.Code, w.Body, time.Unix(at, 0).Sub(start), made)
		}
	})
}

// mac signs as Standard Webhooks says.
func mac(t *testing.T, secret, id, timestamp string, body []byte) string {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	h := hmac.New(sha256.New, raw)
	h.Write([]byte(id + "." + timestamp + "."))
	h.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// FuzzForwarded: whatever a caller makes up, the address that the nearest
// trusted proxy has seen decides.
func FuzzForwarded(f *testing.F) {
	for _, seed := range [][2]string{
		{"78.111.6.41:1", ""},
		{"10.0.0.1:1", "78.111.6.41"},
		{"10.0.0.1:1", "78.111.6.41, 192.0.2.1"},
		{"10.0.0.1:1", "192.0.2.1,78.111.6.41:80,10.2.3.4"},
		{"[::ffff:10.0.0.1]:1", "::ffff:78.111.6.41"},
		{"@", "78.111.6.41"},
		{"", ","},
		{"10.0.0.1:1", "78.111.6.41,"},
		{"10.0.0.1:1", "[fe80::1%25eth0]:80"},
		{"192.0.2.1:1", "78.111.6.41"},
		{"10.0.0.1:1", "10.0.0.1,10.0.0.1"},
		{"10.0.0.1", "for=78.111.6.41"},
	} {
		f.Add(seed[0], seed[1])
	}
	o := keyed(accept)
	o.Callers.Addresses, o.Callers.TrustedProxies = kenar.DivarAddresses(), []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	r := receiver(f, o)
	f.Fuzz(func(t *testing.T, from, forwarded string) {
		status := func(from string, forwarded ...string) int {
			return hit(t, r, []byte(textMessage), http.Header{"Authorization": {key}, "X-Forwarded-For": forwarded}, from).Code
		}
		if got := status(from, forwarded); got != http.StatusOK && got != http.StatusForbidden {
			t.Fatalf("%q from %q: %d", forwarded, from, got)
		}
		for _, test := range []struct {
			from string
			seen []string
			want int
		}{
			{"192.0.2.1:1", nil, http.StatusForbidden},
			{"192.0.2.1:1", []string{"78.111.6.41"}, http.StatusForbidden},
			{"78.111.6.41:1", nil, http.StatusOK},
			{"10.0.0.1:1", []string{"192.0.2.1"}, http.StatusForbidden},
			{"10.0.0.1:1", []string{"192.0.2.1", "10.0.0.2"}, http.StatusForbidden},
			{"10.0.0.1:1", []string{"unknown"}, http.StatusForbidden},
			{"10.0.0.1:1", []string{"78.111.6.41"}, http.StatusOK},
			{"10.0.0.1:1", []string{"78.111.6.41", "10.0.0.2"}, http.StatusOK},
		} {
			for _, lines := range [][]string{
				{strings.Join(append([]string{forwarded}, test.seen...), ",")}, append([]string{forwarded}, test.seen...),
			} {
				if got := status(test.from, lines...); got != test.want {
					t.Fatalf("%q from %q: %d, want %d", lines, test.from, got, test.want)
				}
			}
		}
	})
}

// FuzzCalls: whatever comes, the two handlers answer with what a platform takes,
// or not with 200.
func FuzzCalls(f *testing.F) {
	for _, page := range pages() {
		f.Add([]byte(`{"return_url":"https://back","source":"CHAT","user_side":"Supply","extra_data":{"a":1}}`), page, "x")
	}
	f.Add([]byte(`{"extra_data":null,"provider_data":{}}`), "https://app.example/", "")
	f.Add([]byte(`{"user_side":7}`), "", "a\x00b")
	f.Add([]byte(`null`), "https://a@b/", strings.Repeat("x", 4097))
	f.Fuzz(func(t *testing.T, body []byte, page, text string) {
		session := sessions(t, func(_ context.Context, r *kenar.SessionRequest) (string, error) {
			if !json.Valid(r.ExtraData) {
				t.Fatalf("extra data %q", r.ExtraData)
			}
			return page, nil
		})
		header := http.Header{"Authorization": {key}}
		if w := hit(t, session, body, header, "127.0.0.1:1"); w.Code == http.StatusOK {
			var out struct{ URL string }
			if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || out.URL != page || strings.ContainsAny(page, " \t\r\n\\") ||
				!strings.HasPrefix(strings.ToLower(page), "http") || strings.Contains(strings.SplitN(page+"///", "/", 4)[2], "@") {
				t.Fatalf("%s: %v for %q", w.Body, err, page)
			}
		}
		click := clicks(t, func(context.Context, *kenar.ActionRequest) (kenar.ActionAnswer, error) {
			return kenar.ActionAnswer{Action: new(kenar.OpenDirectLink(page)), Text: text}, nil
		})
		if w := hit(t, click, body, header, "127.0.0.1:1"); w.Code == http.StatusOK {
			var out kenar.ActionAnswer
			if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || out.Check() != nil || out.Text != text {
				t.Fatalf("%s: %v", w.Body, err)
			}
		}
	})
}

func BenchmarkReceiver(b *testing.B) {
	for _, test := range []struct {
		name    string
		secrets []string
	}{{"key", nil}, {"key and signature", []string{secret}}} {
		b.Run(test.name, func(b *testing.B) {
			o := keyed(accept)
			o.Secrets, o.Tolerance = test.secrets, time.Hour
			r := receiver(b, o)
			header := http.Header{"Authorization": {key}}
			pairs := sign(b, time.Now(), textMessage, secret)
			for pair := range slices.Chunk(pairs, 2) {
				header.Set(pair[0], pair[1])
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(textMessage)))
			for b.Loop() {
				if w := hit(b, r, []byte(textMessage), header, "127.0.0.1:1"); w.Code != http.StatusOK {
					b.Fatal(w.Code)
				}
			}
		})
	}
}

// BenchmarkReceiverOverHTTP is what an app can take in: new events over
// connections that stay open, from as many callers as there are processors.
func BenchmarkReceiverOverHTTP(b *testing.B) {
	var n atomic.Int64
	url := listen(b, receiver(b, keyed(accept)))
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	defer transport.CloseIdleConnections()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, url, strings.NewReader(textMessage))
			if err != nil {
				b.Error(err)
				return
			}
			req.Header.Set("Authorization", key)
			req.Header.Set("webhook-id", strconv.FormatInt(n.Add(1), 10))
			if got := do(b, transport, req); got.status != http.StatusOK {
				b.Error(got)
				return
			}
		}
	})
}
