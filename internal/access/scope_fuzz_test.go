package access_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/status"
)

// FuzzParseScopes takes a list of scopes, one a line.
func FuzzParseScopes(f *testing.F) {
	for _, k := range access.Catalogue() {
		f.Add(k.Name)
		f.Add(k.Name + ".gZd7omnS")
		f.Add(k.Name + ".")
	}
	for _, seed := range []string{
		"", "\n", "USER_ID\nUSER_PHONE\nUSER_ID", "user_id", " USER_ID", "USER_ID ", ".", "..", ".gZd7omnS", "NO_SUCH_SCOPE",
		"CHAT_CONVERSATION_READ.a/b+c=", "CHAT_CONVERSATION_READ.a.b", "CHAT_CONVERSATION_READ..", "CHAT_CONVERSATION_READ. x",
		"CHAT_CONVERSATION_READ.سلام", "CHAT_CONVERSATION_READ.\x00", "CHAT_CONVERSATION_READ.\xff", "CHAT_CONVERSATION_READ." + strings.Repeat("x", 64),
		"CHAT_CONVERSATION_READ." + strings.Repeat("x", 65), strings.Repeat("x", 300), strings.Repeat("USER_ID\n", 101),
		"CHAT_POST_CONVERSATIONS_READ.X\nCHAT_POST_CONVERSATIONS_READ.Y\nCHAT_POST_CONVERSATIONS_MESSAGE_SEND.X",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var list []string
		if text != "" {
			list = strings.Split(text, "\n")
		}
		given := slices.Clone(list)
		scopes, err := access.ParseScopes("scopes", list)
		if !slices.Equal(list, given) {
			t.Fatal("the caller's list was changed")
		}
		if err != nil {
			message := status.Of(err).Message
			if status.KindOf(err) != status.Invalid || !strings.HasPrefix(message, "scopes: ") || !utf8.ValidString(message) || len(message) > 1<<10 {
				t.Fatalf("refused with %v", err)
			}
			if scopes != nil {
				t.Fatal("refused, and yet there are scopes")
			}
			return
		}
		slices.Sort(given)
		if !slices.Equal(scopes, slices.Compact(given)) {
			t.Fatalf("given %q, got %q", given, scopes)
		}
		for _, s := range scopes {
			holdsItselfOnly(t, scopes, s)
		}
		if !slices.Equal(scopes.Union(scopes), scopes) || !scopes.Union(access.Scopes{"offline_access"}).Holds("offline_access", "") {
			t.Fatalf("unions of %q", scopes)
		}
	})
}

// holdsItselfOnly: a scope of the set is one of the catalogue, and gives
// nothing on another identifier.
func holdsItselfOnly(t *testing.T, scopes access.Scopes, s string) {
	t.Helper()
	name, identifier, has := strings.Cut(s, ".")
	at := slices.IndexFunc(access.Catalogue(), func(k access.ScopeKind) bool { return k.Name == name })
	if at < 0 {
		t.Fatalf("%q is not in the catalogue", s)
	}
	if needs := access.Catalogue()[at].Resource != access.NoResource; needs != has || has && identifier == "" {
		t.Fatalf("%q: needs an identifier: %t", s, needs)
	}
	if !scopes.Holds(name, identifier) {
		t.Fatalf("%q does not hold %q", scopes, s)
	}
	if has && scopes.Holds(name, "") {
		t.Fatalf("%q holds %s without an identifier", scopes, name)
	}
	for _, other := range []string{identifier + "x", identifier + ".x", "x" + identifier, strings.ToLower(identifier), "*", identifier[:max(len(identifier)-1, 0)]} {
		if other != "" && !slices.Contains(scopes, name+"."+other) && scopes.Holds(name, other) {
			t.Fatalf("%q holds %s on %q", scopes, name, other)
		}
	}
	for _, k := range access.Catalogue() {
		full := k.Name
		if identifier != "" {
			full += "." + identifier
		}
		if !slices.Contains(scopes, full) && scopes.Holds(k.Name, identifier) {
			t.Fatalf("%q holds %s on %q", scopes, k.Name, identifier)
		}
	}
}
