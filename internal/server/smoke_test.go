package server_test

import (
	"strings"
	"testing"
)

func TestMainPath(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.subscribe(p.dev.Users.Seller.AccessToken, `{"event_type":"NEW_MESSAGE_ON_POST","metadata":{"k":1.50}}`).ok()
	event := p.say("BUYER", "سلام")
	h := p.one()
	if !strings.Contains(h.body, `"metadata":{"k":1.50}`) || !strings.Contains(h.body, `"text":"سلام"`) {
		t.Errorf("body: %s", h.body)
	}
	if got := h.header.Get("Authorization"); got != "the-identification-key" {
		t.Errorf("Authorization: %q", got)
	}
	if v := p.verdicts(event); len(v) != 1 || v[0].State != "delivered" || v[0].DeliveryID == nil || h.header.Get("webhook-id") != *v[0].DeliveryID {
		t.Errorf("verdicts: %+v", v)
	}
}
