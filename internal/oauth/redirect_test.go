package oauth

import (
	"slices"
	"strings"
	"testing"
)

// FuzzRedirectURI: what is accepted equals a registered one, to the letter.
func FuzzRedirectURI(f *testing.F) {
	registered := []string{"https://app.example/cb", "http://127.0.0.1:8000/oauth/callback", "myapp://cb", "https://app.example/with?query"}
	for _, seed := range registered {
		for _, uri := range []string{
			seed, strings.ToUpper(seed), seed + "/", seed + "?", seed + "#", seed + "?x=y", seed[1:], " " + seed, seed + "\x00",
			strings.Replace(seed, "://", "://me@", 1), strings.Replace(seed, "/cb", "/./cb", 1), strings.Replace(seed, "cb", "%63b", 1), seed + "\r\nX: y",
		} {
			f.Add(uri)
		}
	}
	f.Fuzz(func(t *testing.T, uri string) {
		if mayReturn(registered, uri) && (!slices.Contains(registered, uri) || strings.ContainsAny(uri, "?#")) {
			t.Fatalf("%q was accepted", uri)
		}
	})
}
