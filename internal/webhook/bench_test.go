package webhook_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openkenar/openkenar/internal/webhook"
)

var benchPayload = []byte(`{"id":"e7a08a2c-8ee4-11ef-af85-4e9e9bfa3c12","conversation":{"id":"edbb9499-cccc-4d35-b21f-621fa95f2b3e","type":"POST",` +
	`"post_token":"gZd7omnS"},"sender":{"side":"SELLER","type":"BOT"},"type":"TEXT","sent_at":1729429926140000,"text":"` + strings.Repeat("سلام ", 10) + `"}`)

// BenchmarkEncode makes the body of a webhook from what is stored.
func BenchmarkEncode(b *testing.B) {
	metadata := []byte(`{"key":"value"}`)
	b.ReportAllocs()
	for b.Loop() {
		webhook.Envelope("NEW_MESSAGE", metadata, benchPayload, "new_message")
	}
}

// devNull is an app that accepts everything.
func devNull(b *testing.B) string {
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	b.Cleanup(srv.Close)
	return srv.URL
}

// BenchmarkSend is a signed webhook to a receiver in the same process, as many
// at a time as one app gets at first.
func BenchmarkSend(b *testing.B) {
	url := devNull(b)
	c := webhook.NewClient(webhook.Options{Guard: webhook.NewGuard(webhook.Loopback()...), Version: "bench"})
	b.Cleanup(c.Close)
	r := webhook.Request{
		ID: "1838255744221708288-app", Attempt: 1, URL: url, IdentificationKey: "key", Secrets: [][]byte{make([]byte, 32)},
		Body: webhook.Envelope("NEW_MESSAGE", nil, benchPayload, "new_message"),
	}
	var failed atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if c.Send(b.Context(), r, time.Now()).Reason != webhook.OK {
				failed.Add(1)
			}
		}
	})
	if failed.Load() > 0 {
		b.Errorf("%d sends failed", failed.Load())
	}
}
