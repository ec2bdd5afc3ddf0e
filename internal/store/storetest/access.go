package storetest

import (
	"testing"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/store"
)

var accessTests = tests{
	"an app comes back as it was stored":                       appRoundTrip,
	"apps are listed by slug, page by page":                    appPages,
	"an identification key is kept sealed only":                sealedKey,
	"a key comes back with what its app may do":                keyRoundTrip,
	"a key is revoked once, by its own app only":               keyRevoked,
	"a key's last use only moves on":                           keyTouched,
	"signing secrets end, the newest first":                    secretsEnd,
	"a token comes back as it was stored":                      tokenRoundTrip,
	"tokens expire before their time, of one app and user":     tokensExpired,
	"a grant grows, and comes back as it was stored":           grantRoundTrip,
	"a user grants an app once at a time":                      oneLiveGrant,
	"revoking a grant ends its tokens and subscriptions alone": revokedGrant,
}

func appRoundTrip(t *testing.T, open opener) {
	l := newLedger(t, open)
	a := access.App{
		Slug: "a", Display: "برنامه", Subtitle: "s", Avatar: "v", Description: "line\nline", EventURL: "https://a.test/e?x=1&y=<2>",
		SessionInitializationURL: "https://a.test/i", DynamicActionURL: "https://a.test/d", FallbackURL: "https://a.test/f",
		RedirectURIs: []string{"https://a.test/r"}, Permissions: []access.Permission{access.GetPost}, OAuthScopes: []string{"USER_ID"},
		Status: access.Production, Paused: true, HearOwnMessages: false,
		Touchpoints: []access.Touchpoint{{Touchpoint: "CHAT", Action: access.ServerLink}}, ServiceType: "t",
		Cities: []string{"tehran"}, Categories: []string{"cars"}, PerMinute: 1, PerDay: 2,
		SealedKey: []byte{0, 1, 255}, CreatedAt: base, UpdatedAt: base.Add(time.Microsecond),
	}
	l.write(func(tx *store.Tx) error { return tx.InsertApp(a) })
	read := func() (inside, outside access.App) {
		t.Helper()
		l.write(func(tx *store.Tx) (err error) {
			inside, _, err = tx.App("a")
			return err
		})
		outside, _, err := l.App(t.Context(), "a")
		ok(t, err)
		return inside, outside
	}
	inside, outside := read()
	same(t, "in a transaction", inside, a)
	same(t, "outside", outside, a)

	changed := a
	changed.Display, changed.SealedKey, changed.UpdatedAt = "other", []byte{9}, base.Add(time.Hour)
	l.write(func(tx *store.Tx) error { return tx.UpdateApp(changed) })
	l.write(func(tx *store.Tx) error { return tx.SetClientSecret("a", []byte("hash"), changed.UpdatedAt) })
	inside, outside = read()
	same(t, "changed, in a transaction", inside, changed)
	same(t, "changed, outside", outside, changed)

	if _, found, err := l.App(t.Context(), "b"); found || err != nil {
		t.Errorf("an app that is not there: found %t, %v", found, err)
	}
	if l.try(t.Context(), func(tx *store.Tx) error { return tx.InsertApp(a) }) == nil {
		t.Error("two apps have one slug")
	}
}

func appPages(t *testing.T, open opener) {
	l := newLedger(t, open)
	for _, slug := range []string{"c", "a", "d", "b"} {
		l.app(slug)
	}
	for _, page := range []struct {
		after string
		limit int
		want  []string
	}{{"", 3, []string{"a", "b", "c"}}, {"c", 3, []string{"d"}}, {"d", 3, nil}} {
		apps, err := l.Apps(t.Context(), page.after, page.limit)
		ok(t, err)
		var got []string
		for _, a := range apps {
			got = append(got, a.Slug)
		}
		same(t, "apps after "+page.after, got, page.want)
	}
}

func sealedKey(t *testing.T, open opener) {
	l := newLedger(t, open)
	a := newApp("a")
	a.IdentificationKey, a.SealedKey = "readable", []byte("sealed")
	l.write(func(tx *store.Tx) error { return tx.InsertApp(a) })
	l.write(func(tx *store.Tx) error { return tx.UpdateApp(a) })
	got, _, err := l.App(t.Context(), "a")
	ok(t, err)
	same(t, "the readable key", got.IdentificationKey, "")
	same(t, "the sealed key", got.SealedKey, []byte("sealed"))
}

// key stores a key of an app.
func (l *ledger) key(app, hash string) access.Key {
	l.t.Helper()
	k := access.Key{
		App: app, Title: "کلید", Prefix: "okk_abcd", Hash: []byte(hash), Permissions: []access.Permission{access.GetPost},
		CreatedAt: base,
	}
	l.write(func(tx *store.Tx) error {
		k.ID = tx.NextID()
		return tx.InsertKey(k)
	})
	return k
}

func (l *ledger) keyByHash(hash string) access.Key {
	l.t.Helper()
	k, found, err := l.KeyByHash(l.ctx(), []byte(hash))
	ok(l.t, err)
	if !found {
		l.t.Fatalf("no key has the hash %q", hash)
	}
	return k
}

func keyRoundTrip(t *testing.T, open opener) {
	l := newLedger(t, open)
	a := newApp("a")
	a.Status, a.Permissions = access.Suspended, []access.Permission{access.SendEvents}
	l.write(func(tx *store.Tx) error { return tx.InsertApp(a) })
	k := l.key("a", "\x00\xff hash")
	want := k
	want.Hash, want.AppStatus, want.AppPermissions, want.AppEventURL = nil, access.Suspended, a.Permissions, true
	want.PerMinute, want.PerDay = a.PerMinute, a.PerDay
	same(t, "by hash", l.keyByHash("\x00\xff hash"), want)

	second := l.key("a", "second")
	l.app("b")
	l.key("b", "of another app")
	for _, page := range []struct {
		after int64
		want  []int64
	}{{0, []int64{k.ID, second.ID}}, {k.ID, []int64{second.ID}}, {second.ID, nil}} {
		keys, err := l.Keys(t.Context(), "a", page.after, 10)
		ok(t, err)
		var got []int64
		for _, k := range keys {
			got = append(got, k.ID)
		}
		same(t, "keys", got, page.want)
	}
	if _, found, err := l.KeyByHash(t.Context(), []byte("unknown")); found || err != nil {
		t.Errorf("an unknown key: found %t, %v", found, err)
	}
}

func keyRevoked(t *testing.T, open opener) {
	l := newLedger(t, open)
	l.app("a")
	l.app("b")
	k := l.key("a", "hash")
	revoke := func(app string, at time.Time) (found bool) {
		l.write(func(tx *store.Tx) (err error) {
			found, err = tx.RevokeKey(app, k.ID, at)
			return err
		})
		return found
	}
	same(t, "another app finds it", revoke("b", base), false)
	same(t, "alive", l.keyByHash("hash").RevokedAt, time.Time{})
	same(t, "its app finds it", revoke("a", base), true)
	same(t, "again", revoke("a", base.Add(time.Hour)), true)
	same(t, "revoked", l.keyByHash("hash").RevokedAt, base)
}

func keyTouched(t *testing.T, open opener) {
	l := newLedger(t, open)
	l.app("a")
	k := l.key("a", "hash")
	for _, at := range []time.Time{base.Add(time.Hour), base} {
		l.write(func(tx *store.Tx) error { return tx.TouchKey(k.ID, at) })
	}
	same(t, "last used", l.keyByHash("hash").LastUsedAt, base.Add(time.Hour))
}

func secretsEnd(t *testing.T, open opener) {
	l := newLedger(t, open)
	l.app("a")
	l.app("b")
	add := func(app string, ends time.Time) access.Secret {
		s := access.Secret{App: app, Sealed: []byte{0, 255}, CreatedAt: base, EndsAt: ends}
		l.write(func(tx *store.Tx) error {
			s.ID = tx.NextID()
			return tx.InsertSecret(s)
		})
		return s
	}
	secrets := func(now time.Time) []access.Secret {
		t.Helper()
		list, err := l.Secrets(t.Context(), "a", now)
		ok(t, err)
		return list
	}
	soon, never, foreign, newest := add("a", base.Add(time.Minute)), add("a", time.Time{}), add("b", time.Time{}), add("a", time.Time{})
	same(t, "before a rotation", secrets(base), []access.Secret{newest, never, soon})

	end := base.Add(time.Hour)
	l.write(func(tx *store.Tx) error { return tx.EndSecrets("a", newest.ID, end) })
	never.EndsAt = end
	same(t, "after it", secrets(base), []access.Secret{newest, never, soon})
	same(t, "when the first has ended", secrets(base.Add(time.Minute)), []access.Secret{newest, never})
	same(t, "when all older ones have", secrets(end), []access.Secret{newest})

	others, err := l.Secrets(t.Context(), "b", end)
	ok(t, err)
	same(t, "of another app", others, []access.Secret{foreign})
}

func (l *ledger) tokenByHash(hash []byte) access.Token {
	l.t.Helper()
	got, found, err := l.TokenByHash(l.ctx(), hash)
	ok(l.t, err)
	if !found {
		l.t.Fatalf("no token has the hash %q", hash)
	}
	return got
}

func tokenRoundTrip(t *testing.T, open opener) {
	l := newLedger(t, open)
	l.app("a")
	want := l.token(l.grant("a", "user"), base.Add(time.Hour+time.Microsecond))
	got := l.tokenByHash(want.Hash)
	want.Hash = nil
	same(t, "token", got, want)
	if _, found, err := l.TokenByHash(t.Context(), []byte("unknown")); found || err != nil {
		t.Errorf("an unknown token: found %t, %v", found, err)
	}
}

func tokensExpired(t *testing.T, open opener) {
	l := newLedger(t, open)
	l.app("a")
	l.app("b")
	later := base.Add(time.Hour)
	mine, other := l.token(l.grant("a", "user"), later), l.token(l.grant("a", "another"), later)
	foreign, past := l.token(l.grant("b", "user"), later), l.token(l.grant("b", "past"), base.Add(-time.Hour))
	expire := func(app, user string) (n int64) {
		t.Helper()
		l.write(func(tx *store.Tx) (err error) {
			n, err = tx.ExpireTokens(app, user, base)
			return err
		})
		return n
	}
	same(t, "expired", expire("a", "user"), 1)
	same(t, "expired again", expire("a", "user"), 0)
	same(t, "expired, long past", expire("b", "past"), 0)
	same(t, "its end", l.tokenByHash(mine.Hash).ExpiresAt, base)
	for _, k := range []access.Token{other, foreign, past} {
		same(t, "the end of another", l.tokenByHash(k.Hash).ExpiresAt, k.ExpiresAt)
	}
}

func (l *ledger) liveGrant(app, user string) (g access.Grant, found bool) {
	l.t.Helper()
	l.write(func(tx *store.Tx) (err error) {
		g, found, err = tx.LiveGrant(app, user)
		return err
	})
	return g, found
}

func grantRoundTrip(t *testing.T, open opener) {
	l := newLedger(t, open)
	l.app("b")
	l.app("a")
	b, a := l.grant("b", "user"), l.grant("a", "user")
	l.grant("a", "another user")
	list, err := l.Access().Grants(t.Context(), "user")
	ok(t, err)
	same(t, "by app", list, []access.Grant{a, b})

	a.Scopes = access.Scopes{"CHAT_POST_CONVERSATIONS_READ.p", "USER_ID"}
	l.write(func(tx *store.Tx) error { return tx.UpdateGrant(a) })
	got, _ := l.liveGrant("a", "user")
	same(t, "grown", got, a)
}

func oneLiveGrant(t *testing.T, open opener) {
	l := newLedger(t, open)
	l.app("a")
	first := l.grant("a", "user")
	again := access.Grant{ID: first.ID + 1, App: "a", User: "user", GrantedAt: base}
	if l.try(t.Context(), func(tx *store.Tx) error { return tx.InsertGrant(again) }) == nil {
		t.Error("a second live grant was stored")
	}
	l.revoke(first, base)
	if _, found := l.liveGrant("a", "user"); found {
		t.Error("a revoked grant lives")
	}
	second := l.grant("a", "user")
	got, _ := l.liveGrant("a", "user")
	same(t, "the new grant", got.ID, second.ID)
}

func revokedGrant(t *testing.T, open opener) {
	l := newLedger(t, open)
	l.app("a")
	l.app("b")
	ends, stays := l.grant("a", "user"), l.grant("b", "user")
	ended, alive := l.token(ends, base.Add(time.Hour)), l.token(stays, base.Add(time.Hour))
	l.subscribe(ended, subscription{})
	l.subscribe(alive, subscription{})

	l.revoke(ends, base.Add(time.Minute))

	same(t, "its token is revoked", l.tokenByHash(ended.Hash).Revoked, true)
	same(t, "another's is revoked", l.tokenByHash(alive.Hash).Revoked, false)
	same(t, "its subscriptions", len(l.live("a", base.Add(time.Minute))), 0)
	same(t, "another's subscriptions", len(l.live("b", base.Add(time.Minute))), 1)
	same(t, "it can be subscribed with", l.register(ended, subscription{}, base.Add(time.Minute)), false)
}
