package oauth

import (
	"net/http"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/api"
	"github.com/openkenar/openkenar/internal/schema"
)

// route is an operation with what carries it out.
type route struct {
	api.Operation
	handler func(s *Server) http.HandlerFunc
}

// Operations describes the endpoints that apps and their users' browsers call.
func Operations() []api.Operation {
	list := routes()
	operations := make([]api.Operation, len(list))
	for i, r := range list {
		operations[i] = r.Operation
	}
	return operations
}

// MetadataPath is where clients find the endpoints (RFC 8414).
const MetadataPath = "/.well-known/oauth-authorization-server"

func routes() []route {
	const tag, form = "OAuth", "application/x-www-form-urlencoded"
	errors := []api.Response{
		{Status: http.StatusBadRequest, Words: "The request, the grant or the scope is not valid.", Type: "application/json", Body: errorAnswer{}},
		{Status: http.StatusUnauthorized, Words: "The client is unknown or its secret is wrong.", Type: "application/json", Body: errorAnswer{}},
		{Status: http.StatusInternalServerError, Words: "Our fault.", Type: "application/json", Body: errorAnswer{}},
		{Status: http.StatusServiceUnavailable, Words: "The ledger takes no write now; ask again.", Type: "application/json", Body: errorAnswer{}},
	}
	return []route{
		{api.Operation{
			Route: "GET /oauth2/auth", ID: "authorize", Tag: tag, Summary: "Ask a user for access",
			Words: "For the user's browser. Every error but an unknown client or redirect URI goes back to the app as `error`, with the `state`.",
			Params: []api.Param{
				{Name: "response_type", Schema: schema.Text("").One("code"), Required: true},
				{Name: "client_id", Schema: schema.Text("The app's slug."), Required: true},
				{Name: "redirect_uri", Schema: schema.Text("One that the app has registered, to the letter and without a query."), Required: true},
				{Name: "scope", Schema: schema.Text("Scopes, with a space between them."), Required: true},
				{Name: "state", Schema: schema.Text("Given back as it is.")},
				{Name: "code_challenge", Schema: &schema.Schema{Type: "string", Form: challengeForm.String(), Words: "PKCE (RFC 7636)."}},
				{Name: "code_challenge_method", Schema: schema.Text("").One("S256")},
			},
			Others: []api.Response{
				{Status: http.StatusSeeOther, Words: "To the login page; or back to the app with an error."},
				{Status: http.StatusBadRequest, Words: "The client or the redirect URI is unknown: a page for the user.", Type: "text/html", Body: schema.Text("A page.")},
				{Status: http.StatusInternalServerError, Words: "Our fault: a page for the user.", Type: "text/html", Body: schema.Text("A page.")},
				{Status: http.StatusServiceUnavailable, Words: "Not now: a page for the user.", Type: "text/html", Body: schema.Text("A page.")},
			},
		}, func(s *Server) http.HandlerFunc { return s.page(s.authorize) }},
		{api.Operation{
			Route: "POST /oauth2/token", ID: "getToken", Tag: tag, Summary: "Get tokens for a code or a refresh token",
			Words: "A code is single-use and lives 10 minutes; its reuse revokes what it gave. A refresh replaces both tokens; a repeat of the same refresh within " +
				"2 minutes succeeds with a further pair, later reuse revokes the family.",
			Credential: api.ClientSecret, In: tokenForm(), InType: []string{form}, Out: tokenAnswer{}, Others: errors,
		}, func(s *Server) http.HandlerFunc { return s.endpoint(s.token) }},
		{api.Operation{
			Route: "POST /oauth2/revoke", ID: "revokeToken", Tag: tag, Summary: "Revoke a token",
			Words:      "A refresh token with its whole family, an access token alone. What is not the app's is answered the same and not touched.",
			Credential: api.ClientSecret, In: revocationForm(), InType: []string{form}, Out: api.Empty{}, Others: errors,
		}, func(s *Server) http.HandlerFunc { return s.endpoint(s.revoke) }},
		{api.Operation{
			Route: "GET " + MetadataPath, ID: "getMetadata", Tag: tag, Summary: "Find the endpoints (RFC 8414)", Out: metadata{},
		}, func(s *Server) http.HandlerFunc { return s.showMetadata }},
	}
}

func formOf(required string, fields ...schema.Property) *schema.Schema {
	client := []schema.Property{
		{Name: "client_id", Schema: schema.Text("The app's slug; here or as Basic.")},
		{Name: "client_secret", Schema: schema.Text("Here or as Basic, not both.")},
	}
	return &schema.Schema{Type: "object", Properties: append(fields, client...), Required: []string{required}}
}

func tokenForm() *schema.Schema {
	return formOf("grant_type",
		schema.Property{Name: "grant_type", Schema: schema.Text("").One("authorization_code", "refresh_token")},
		schema.Property{Name: "code", Schema: schema.Text("Of `authorization_code`.")},
		schema.Property{Name: "redirect_uri", Schema: schema.Text("Of `authorization_code`: that of the request for the code.")},
		schema.Property{Name: "code_verifier", Schema: schema.Text("Of `authorization_code`, where a challenge was sent.")},
		schema.Property{Name: "refresh_token", Schema: schema.Text("Of `refresh_token`.")},
		schema.Property{Name: "scope", Schema: schema.Text("Of `refresh_token`: some of those that were granted; absent: all of them.")},
	)
}

func revocationForm() *schema.Schema {
	return formOf("token", schema.Property{Name: "token", Schema: schema.Text("An access token or a refresh token.")})
}

// SchemaName implements schema.Named.
func (tokenAnswer) SchemaName() string { return "Tokens" }

// SchemaName implements schema.Named.
func (errorAnswer) SchemaName() string { return "OAuthError" }

// SchemaName implements schema.Named.
func (metadata) SchemaName() string { return "OAuthMetadata" }

// SchemaValues implements schema.Enumerated.
func (refusal) SchemaValues() []string {
	return []string{invalidRequest, invalidScope, invalidClient, invalidGrant, unsupportedGrant, serverError}
}

// Describe implements schema.Describer.
func (tokenAnswer) Describe(s *schema.Schema, _ schema.Direction) {
	s.Field("expires_in").Say("Seconds.")
	s.Field("refresh_token").Say("With `" + access.ScopeOffline + "`.")
	s.Field("scope").Say("Scopes, with a space between them.")
	s.Field("token_type").One("bearer")
}
