// Package oauth is the authorization server: the authorization code flow of
// RFC 6749 with PKCE (RFC 7636), refresh with rotation and reuse detection
// (RFC 9700), revocation (RFC 7009) and metadata (RFC 8414). Apps get tokens
// only with the user's consent. Contract: section 7.
//
// Who the user is, the marketplace says (login.go). Every change of state is a
// guarded statement in the store's transaction: of any number of parties that
// redeem one code, one wins. A file per endpoint: authorize.go, login.go,
// consent.go, token.go, revoke.go.
package oauth

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/openkenar/openkenar/internal/access"
)

// Lifetimes (contract, section 7).
const (
	loginTTL   = 10 * time.Minute
	codeTTL    = 10 * time.Minute
	accessTTL  = time.Hour
	refreshTTL = 30 * 24 * time.Hour
	// grace is how long an old pair keeps working beside its successor: the app
	// may have missed the answer.
	grace = 2 * time.Minute
)

// Prefixes make our secrets readable for people and secret scanners.
const (
	challengePrefix = "okl_"
	consentPrefix   = "okn_"
	codePrefix      = "okc_"
	refreshPrefix   = "okr_"
)

// Login is one attempt of a browser to get through the consent.
type Login struct {
	Hash          []byte // of the login challenge
	App           string
	RedirectURI   string
	Scopes        access.Scopes
	State         *string // nil: none was sent
	CodeChallenge string  // S256; "" without PKCE
	Browser       []byte  // hash of the cookie that binds it to its browser
	ExpiresAt     time.Time
	User          string // once the marketplace has named it
	Decided       bool
}

// Code is an authorization code.
type Code struct {
	Hash          []byte
	App           string
	User          string
	Grant         int64
	Family        int64 // of the tokens that it gives
	RedirectURI   string
	Scopes        access.Scopes
	CodeChallenge string
	ExpiresAt     time.Time
	Used          bool
	Revoked       bool // the grant was
}

// Refresh is a refresh token.
type Refresh struct {
	ID        int64
	Hash      []byte
	Family    int64
	App       string
	User      string
	Grant     int64
	Scopes    access.Scopes
	ExpiresAt time.Time
	RotatedAt time.Time // zero: not yet
	Revoked   bool      // itself, or the grant
}

// Tx is the part of the store's transaction that the flows need. The methods
// that report won are guarded: of several callers one gets true.
type Tx interface {
	access.Tx
	InsertLogin(l Login) error
	// AcceptLogin names the user of a login that has none yet.
	AcceptLogin(hash []byte, user string, consent []byte, now time.Time) (won bool, err error)
	// DecideLogin ends a login.
	DecideLogin(hash []byte, now time.Time) (won bool, err error)
	UserExists(id string) (bool, error)
	Resources(user string, posts, conversations []string) (map[string]string, error)
	InsertCode(c Code) error
	Code(hash []byte) (c Code, ok bool, err error)
	UseCode(hash []byte, now time.Time) (won bool, err error)
	InsertRefresh(r Refresh) error
	Refresh(hash []byte) (r Refresh, ok bool, err error)
	// Rotate marks a refresh token, and with it its whole family, as replaced,
	// and lets the family's access tokens end at a moment, where theirs is later.
	Rotate(r Refresh, now, end time.Time) (won bool, err error)
	RevokeFamily(family int64, now time.Time) error
	// RevokeAccess ends an access token of the app.
	RevokeAccess(app string, hash []byte, now time.Time) error
}

// Store is the ledger as the flows need it.
type Store interface {
	Write(ctx context.Context, f func(Tx) error) error
	Login(ctx context.Context, hash []byte) (l Login, ok bool, err error)
	LoginByConsent(ctx context.Context, hash []byte) (l Login, ok bool, err error)
	// Resources returns the titles of those of the posts and conversations that
	// are the user's own, by "post ID" and "conversation ID".
	Resources(ctx context.Context, user string, posts, conversations []string) (map[string]string, error)
	// ClientSecret returns the hash of an app's client secret, nil without one.
	ClientSecret(ctx context.Context, app string) ([]byte, error)
}

// Server is the authorization server.
type Server struct {
	store    Store
	access   *access.Access
	issuer   func() string
	loginURL string
	people   []string
	now      func() time.Time
	log      *slog.Logger

	mu     sync.Mutex
	floods map[string]*rate.Limiter // by app
}

// Options of New.
type Options struct {
	Store  Store
	Access *access.Access
	// Issuer returns the address under which browsers and apps reach us.
	Issuer func() string
	// LoginURL is the marketplace's page that says who the user is; the login
	// challenge is added to it. "" in dev mode.
	LoginURL string
	// People are the users among whom dev mode's login page lets one choose.
	People []string
	Now    func() time.Time // default time.Now
	Log    *slog.Logger
}

// New returns the authorization server.
func New(o Options) (*Server, error) {
	if o.Store == nil || o.Access == nil || o.Issuer == nil || o.Log == nil {
		return nil, errors.New("oauth: Store, Access, Issuer and Log are needed")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Server{
		store: o.Store, access: o.Access, issuer: o.Issuer, loginURL: o.LoginURL, people: o.People, now: o.Now, log: o.Log,
		floods: map[string]*rate.Limiter{},
	}, nil
}

// Handler serves the endpoints under /oauth2 and the metadata. What is not in
// routes is a page for people, and no part of the contract.
func (s *Server) Handler() http.Handler {
	m := http.NewServeMux()
	for _, r := range routes() {
		m.HandleFunc(r.Route, r.handler(s))
	}
	m.HandleFunc("GET /oauth2/consent", s.page(s.showConsent))
	m.HandleFunc("POST /oauth2/consent", s.page(s.decide))
	m.HandleFunc("GET /oauth2/style.css", style)
	if len(s.people) > 0 {
		m.HandleFunc("GET /oauth2/login", s.page(s.showLogin))
		m.HandleFunc("POST /oauth2/login", s.page(s.devLogin))
	}
	return m
}

func (s *Server) showMetadata(w http.ResponseWriter, r *http.Request) {
	base := s.issuer()
	var scopes []string
	for _, k := range access.Catalogue() {
		scopes = append(scopes, k.Name)
	}
	secret := []string{"client_secret_basic", "client_secret_post"}
	s.answer(w, r, http.StatusOK, metadata{
		Issuer: base, Authorization: base + "/oauth2/auth", Token: base + "/oauth2/token", Revocation: base + "/oauth2/revoke",
		Scopes: scopes, ResponseTypes: []string{"code"}, ResponseModes: []string{"query"},
		GrantTypes: []string{"authorization_code", "refresh_token"}, ChallengeMethods: []string{"S256"},
		TokenAuth: secret, RevocationAuth: secret,
	})
}

// metadata is the document of RFC 8414.
type metadata struct {
	Issuer           string   `json:"issuer"`
	Authorization    string   `json:"authorization_endpoint"`
	Token            string   `json:"token_endpoint"`
	Revocation       string   `json:"revocation_endpoint"`
	Scopes           []string `json:"scopes_supported"`
	ResponseTypes    []string `json:"response_types_supported"`
	ResponseModes    []string `json:"response_modes_supported"`
	GrantTypes       []string `json:"grant_types_supported"`
	ChallengeMethods []string `json:"code_challenge_methods_supported"`
	TokenAuth        []string `json:"token_endpoint_auth_methods_supported"`
	RevocationAuth   []string `json:"revocation_endpoint_auth_methods_supported"`
}

func hash(secret string) []byte {
	h := sha256.Sum256([]byte(secret))
	return h[:]
}

// single returns a parameter that may be sent once at most (RFC 6749, 3.1).
func single(form url.Values, name string) (value string, ok bool) {
	values := form[name]
	if len(values) > 1 {
		return "", false
	}
	return strings.Join(values, ""), true
}
