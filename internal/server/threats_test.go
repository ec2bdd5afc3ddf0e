package server_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"testing"
)

// threats is each attack of RFC 9700, section 4, that applies to an
// authorization server with the code flow, and the test that covers it.
var threats = []struct{ section, threat, test string }{
	{"4.1", "insufficient validation of redirect URIs", "TestOAuthRequests"},
	{"4.1", "the same, of what strangers make up", "FuzzRedirectURI"},
	{"4.2", "codes and state leak by the Referer header", "TestOAuthConsent"},
	{"4.3", "credentials leak by the browser's history: codes are single-use and short-lived", "TestOAuthCode"},
	{"4.5", "code injection: a code is bound to its client and its challenge", "TestOAuthCode"},
	{"4.7", "CSRF of the redirect URI: state comes back as it was given, and PKCE works", "TestOAuthRequests"},
	{"4.7", "CSRF of the login and of the consent: both are bound to the browser", "TestOAuthConsent"},
	{"4.8", "PKCE downgrade: a verifier without a challenge, plain, a wrong verifier first", "TestOAuthCode"},
	{"4.9", "tokens leak at the resource server: one app's token is another's 401", "TestAccessTokens"},
	{"4.10", "misuse of stolen tokens: short lives and narrow scopes", "TestOAuthFlow"},
	{"4.11", "open redirection: unknown clients and redirect URIs are shown, not followed", "TestOAuthRequests"},
	{"4.12", "307 redirects carry credentials on: we answer 303", "TestOAuthFlow"},
	{"4.14", "refresh tokens are replayed: rotation and reuse detection", "TestOAuthFlow"},
	{"4.14", "the same by another app, which must do no harm", "TestOAuthCode"},
	{"4.15", "a client poses as a user: tokens come only from a consent", "TestOAuthLogin"},
	{"4.16", "clickjacking: no page may be framed", "TestOAuthConsent"},
	{"2.5", "client secrets are guessed or left out", "TestOAuthClient"},
	{"6819 5.1.5.7", "several parties redeem a code at once", "TestOAuthCode"},
}

// TestThreatsAreCovered keeps the table true: each test that it names exists.
func TestThreatsAreCovered(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, pattern := range []string{"*_test.go", "../oauth/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range parsed.Decls {
				if f, ok := d.(*ast.FuncDecl); ok {
					known[f.Name.Name] = true
				}
			}
		}
	}
	for _, x := range threats {
		if !known[x.test] {
			t.Errorf("RFC %s, %s: there is no test %s", x.section, x.threat, x.test)
		}
	}
}
