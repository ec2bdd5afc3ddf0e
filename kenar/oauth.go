package kenar

import (
	"cmp"
	"crypto/subtle"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/oauth2"
)

// DefaultOAuthHost is where users are asked unless told otherwise: Divar's OAuth
// has a host of its own. That of OpenKenar is the platform's.
const DefaultOAuthHost = "https://oauth.divar.ir"

// Endpoint returns where users are asked and where tokens are had, for a host as
// in Options.Host; "" is DefaultOAuthHost.
func Endpoint(host string) (oauth2.Endpoint, error) {
	base, err := checkHost(cmp.Or(host, DefaultOAuthHost))
	if err == nil {
		err = checkPrivate(base)
	}
	if err != nil {
		return oauth2.Endpoint{}, err
	}
	return oauth2.Endpoint{
		AuthURL: base + "/oauth2/auth", TokenURL: base + "/oauth2/token", AuthStyle: oauth2.AuthStyleInParams,
	}, nil
}

// OAuthOptions of NewOAuth.
type OAuthOptions struct {
	// Host of the OAuth pages, as browsers reach it, as in Options.Host. An app with
	// a way of its own to the platform sets Endpoint.TokenURL of what NewOAuth
	// returns. Default: DefaultOAuthHost.
	Host string
	// ClientID is the app's slug.
	ClientID string
	// ClientSecret is the app's OAuth secret, not its API key.
	ClientSecret string
	// RedirectURL is where the user comes back, equal to one that is registered
	// for the app. See CheckRedirectURL.
	RedirectURL string
	// Scopes are what the user is asked for. More can be asked for later: copy the
	// configuration and set others.
	Scopes []Scope
}

// NewOAuth checks what an app knows of itself and returns it as package oauth2
// wants it.
func NewOAuth(o OAuthOptions) (*oauth2.Config, error) {
	endpoint, err := Endpoint(o.Host)
	if err != nil {
		return nil, err
	}
	switch {
	case o.ClientID == "":
		return nil, invalid("ClientID", "must not be empty; it is the app's slug")
	case o.ClientSecret == "":
		return nil, invalid("ClientSecret", "must not be empty")
	case len(o.Scopes) == 0:
		return nil, invalid("Scopes", "must not be empty; a user is asked for something")
	}
	if err := CheckRedirectURL(o.RedirectURL); err != nil {
		return nil, err
	}
	scopes, err := Scopes(o.Scopes...)
	if err != nil {
		return nil, err
	}
	return &oauth2.Config{
		ClientID: o.ClientID, ClientSecret: o.ClientSecret, Endpoint: endpoint, RedirectURL: o.RedirectURL, Scopes: scopes,
	}, nil
}

// maxRedirectURL bounds a redirect URL, in bytes.
const maxRedirectURL = 2048

// CheckRedirectURL refuses what OpenKenar does not let an app register as a
// redirect URL. It takes https, plain http to this machine, and a scheme of the
// app's own with a dot in it, as com.example.app:/back has; without a query, a
// fragment, a star, a user name, and all in ASCII (RFC 9700, 2.1 and 4.1; RFC
// 8252, 7.1).
func CheckRedirectURL(raw string) error {
	refuse := func(problem string) error { return invalid("RedirectURL", problem) }
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Scheme == "":
		return refuse("not an absolute URL; write https://host/path")
	case len(raw) > maxRedirectURL:
		return refuse(fmt.Sprintf("%d bytes, want at most %d", len(raw), maxRedirectURL))
	case strings.ContainsAny(raw, `?#*\`) || strings.ContainsFunc(raw, unprintable):
		return refuse("a query, a fragment, a star, a backslash or a character that is not ASCII is not allowed")
	case u.User != nil:
		return refuse("a user name or password is not allowed")
	case (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() == "":
		return refuse("it names no host")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return refuse("plain http is allowed only to this machine; use https")
	case u.Scheme != "https" && u.Scheme != "http" && !strings.Contains(u.Scheme, "."):
		return refuse("an app's own scheme has a dot in it, as com.example.app:/back has; or use https")
	default:
		return nil
	}
}

// AuthCode reads the request with which a user comes back to the redirect URL,
// and returns the code for oauth2.Config.Exchange. The state is the one that
// AuthCodeURL was given for this browser: a secret of its own, kept in a cookie,
// or somebody could slip a user the consent of another. Errors: ErrDenied;
// ErrInvalid for another state, or for what was wrong with the question.
func AuthCode(r *http.Request, state string) (code string, err error) {
	q := r.URL.Query()
	if got := q.Get("state"); state == "" || subtle.ConstantTimeCompare([]byte(got), []byte(state)) != 1 {
		return "", invalid("state", "it is not the one of this browser; begin again")
	}
	switch problem := q.Get("error"); {
	case problem == "access_denied":
		return "", ErrDenied
	case problem != "":
		return "", invalid("authorization", "the platform said "+oneLine(problem, maxNotStatus))
	case q.Get("code") == "":
		return "", invalid("code", "there is none")
	default:
		return q.Get("code"), nil
	}
}

// Granted returns the scopes that a token has, as the platform has just said: a
// user gives only what is their own, so that they may be fewer than were asked
// for. nil for a token that was stored meanwhile.
func Granted(t *oauth2.Token) []Scope {
	said, _ := t.Extra("scope").(string)
	var granted []Scope
	for scope := range strings.SplitSeq(said, " ") {
		if scope != "" {
			granted = append(granted, Scope(scope))
		}
	}
	return granted
}
