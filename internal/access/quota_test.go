package access_test

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/store"
)

// spent calls until it is refused, at most n times, and returns how often it
// was let through and the refusal.
func spent(t *testing.T, q *access.Quotas, k access.Key, n int) (let int, refusal error) {
	t.Helper()
	for ; let < n; let++ {
		if refusal = q.Spend(t.Context(), k); refusal != nil {
			break
		}
	}
	return let, refusal
}

// TestQuotas lets a day go by: limits hold, reset, survive a restart, and are
// shared by nodes.
func TestQuotas(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, err := store.Open(t.Context(), store.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}()
		var log bytes.Buffer
		node := func() *access.Quotas {
			q, err := access.NewQuotas(access.QuotaOptions{Store: s, Log: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			q.Start(t.Context())
			return q
		}
		k := access.Key{App: "app", PerMinute: 10, PerDay: 25}
		q := node()

		let, refusal := spent(t, q, k, 100)
		if let != 10 || status.KindOf(refusal) != status.ResourceExhausted || !strings.Contains(refusal.Error(), "10 calls a minute") {
			t.Errorf("%d calls, then %v; want 10 a minute", let, refusal)
		}
		if wait := status.RetryAfter(refusal); wait <= 0 || wait > time.Minute {
			t.Errorf("Retry-After: %s", wait)
		}
		if let, _ := spent(t, q, access.Key{App: "other", PerMinute: 10, PerDay: 25}, 100); let != 10 {
			t.Errorf("another app got %d calls", let)
		}
		if let, _ := spent(t, q, access.Key{App: "free"}, 100); let != 100 {
			t.Errorf("without limits %d calls were let through", let)
		}

		// A second node knows after a second; a restart changes nothing.
		<-time.After(2 * time.Second)
		second := node()
		if let, _ := spent(t, second, k, 100); let != 0 {
			t.Errorf("a second node let %d more calls through", let)
		}
		q.Stop()
		q = node()
		if let, _ := spent(t, q, k, 100); let != 0 {
			t.Errorf("after a restart %d more calls were let through", let)
		}

		<-time.After(time.Minute)
		if let, _ := spent(t, q, k, 6); let != 6 {
			t.Errorf("in the next minute %d calls", let)
		}
		<-time.After(2 * time.Second)
		if let, _ := spent(t, second, k, 100); let != 4 {
			t.Errorf("the second node let %d of the 4 left through", let)
		}
		<-time.After(time.Minute)
		let, refusal = spent(t, q, k, 100)
		if let != 5 || refusal == nil || !strings.Contains(refusal.Error(), "daily quota of 25") || !strings.Contains(refusal.Error(), "T00:00:00Z") {
			t.Errorf("%d calls, then %v; want the 5 that are left of the day", let, refusal)
		}
		if n := strings.Count(log.String(), "80 %"); n == 0 {
			t.Error("nobody was told that 80 % are used")
		}
		<-time.After(24 * time.Hour)
		if let, _ := spent(t, q, k, 100); let != 10 {
			t.Errorf("the next day %d calls", let)
		}
		q.Stop()
		second.Stop()
	})
}

// BenchmarkSpend is the cost of a check.
func BenchmarkSpend(b *testing.B) {
	s, err := store.Open(b.Context(), store.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	q, err := access.NewQuotas(access.QuotaOptions{Store: s})
	if err != nil {
		b.Fatal(err)
	}
	k := access.Key{App: "app", PerMinute: 1 << 40, PerDay: 1 << 40}
	for b.Loop() {
		if err := q.Spend(b.Context(), k); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHotPath is what every call of an app for a user costs before it is
// looked at: the key, its permission, the quota and the token, with 100,000
// live tokens.
func BenchmarkHotPath(b *testing.B) {
	const tokens = 100_000
	ctx := b.Context()
	s, err := store.Open(ctx, store.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	rules := newAccess(b, s)
	q, err := access.NewQuotas(access.QuotaOptions{Store: s})
	if err != nil {
		b.Fatal(err)
	}
	app := access.NewApp()
	app.Slug, app.Permissions, app.PerMinute, app.PerDay = "app", access.Permissions(), 0, 0
	if _, err := rules.CreateApp(ctx, app); err != nil {
		b.Fatal(err)
	}
	_, key, err := rules.CreateKey(ctx, "app", "", access.Permissions())
	if err != nil {
		b.Fatal(err)
	}
	_, token, err := rules.IssueToken(ctx, "app", "user", access.Scopes{"USER_ID"}, time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	texts := []string{token}
	err = s.Access().Write(ctx, func(tx access.Tx) error {
		g, _, err := tx.LiveGrant("app", "user")
		if err != nil {
			return err
		}
		texts = texts[:1]
		for range tokens {
			_, text, err := rules.InsertToken(tx, access.Token{App: "app", User: "user", Grant: g.ID, Scopes: g.Scopes, ExpiresAt: time.Now().Add(time.Hour)})
			if err != nil {
				return err
			}
			texts = append(texts, text)
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	took := make([]time.Duration, 0, 1<<20)
	i := 0
	for b.Loop() {
		i = (i + 7919) % len(texts)
		start := time.Now()
		k, err := rules.Authenticate(ctx, key)
		if err == nil {
			err = k.May(access.RetrieveUser)
		}
		if err == nil {
			err = q.Spend(ctx, k)
		}
		if err == nil {
			_, err = rules.Token(ctx, "app", texts[i])
		}
		if err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1000, "µs-median")
}
