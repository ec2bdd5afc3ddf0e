package api

import (
	"github.com/openkenar/openkenar/internal/schema"
	"github.com/openkenar/openkenar/internal/status"
)

// Credential is what a call has to carry.
type Credential int

// The credentials.
const (
	NoCredential Credential = iota
	HostKey
	APIKey       // of an app
	AccessToken  // an app's API key, and a user's token
	UploadToken  // instead of a key
	ClientSecret // an app's, in the form or as Basic
)

// Operation is a route with what its callers have to know of it. The routers
// are made of operations, so that none has a route that is not described; the
// OpenAPI documents are made of the same.
type Operation struct {
	Route      string // "METHOD /path/{id}", as net/http's ServeMux takes it
	ID         string // its name for programs, one for each route
	Tag        string // the part of the contract that it belongs to
	Summary    string // a few words
	Words      string // the rest of what there is to say; may be empty
	Credential Credential
	Permission string // that the API key needs; "" for none
	// Scopes are those of which the token needs one, each maybe several at
	// once; none: the token needs no scope.
	Scopes [][]string
	Params []Param // of path and query; of the path only those that need words
	// In and Out are values of the types of the JSON that is read and written, or
	// a *schema.Schema; nil: there is none.
	In, Out any
	InType  []string  // media types of In, if not JSON
	Also    []Content // that the answer may be instead of Out
	Errors  []status.Kind
	// Others are answers that are neither Out nor an error of the contract's
	// table; for OAuth, whose errors are its own.
	Others []Response
	// AliasOf is the ID of the operation that this is another path of.
	AliasOf string
}

// Param is a parameter of a path or a query.
type Param struct {
	Name     string
	Schema   *schema.Schema // with the words
	Required bool
	Deep     bool // written NAME[key]=value
}

// Content is an answer that is not JSON.
type Content struct {
	Type   string
	Schema *schema.Schema
}

// Response is an answer with a status of its own.
type Response struct {
	Status int
	Words  string
	Type   string // media type; "" without a body
	Body   any    // as Operation.Out
}

// After is the parameter of a list that comes in pages.
func After() Param {
	return Param{Name: "after", Schema: schema.Text("The value of `next` of the page before; absent for the first page.")}
}
