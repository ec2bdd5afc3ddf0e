package access

import (
	"slices"
	"strings"

	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/wire"
)

// Names of scopes that code asks for.
const (
	ScopeUserID     = "USER_ID"
	ScopeUserPhone  = "USER_PHONE"
	ScopeUserPosts  = "USER_POSTS_GET"
	ScopeOffline    = "offline_access"
	scopeMaxLength  = 256
	maxScopesATime  = 100
	scopeIdentifier = "."
)

// Resource is what the identifier of a scope names.
type Resource string

// The resources of scopes.
const (
	NoResource   Resource = ""
	Post         Resource = "post"
	Conversation Resource = "conversation"
)

// ScopeKind is a row of the catalogue.
type ScopeKind struct {
	Name     string
	Resource Resource // what its identifier names; NoResource: it takes none
}

// catalogue is the table of all scopes (contract, sections 4 and 5).
var catalogue = []ScopeKind{
	{"USER_ID", NoResource},
	{"USER_PHONE", NoResource},
	{"USER_POSTS_GET", NoResource},
	{"SEND_EVENT", NoResource},
	{"NOTIFICATION_ACCESS_REVOCATION", NoResource},
	{"CHAT_POST_CONVERSATIONS_READ", Post},
	{"CHAT_SUPPLIER_ALL_CONVERSATIONS_READ", NoResource},
	{"CONVERSATION_SEND_MESSAGE", Conversation},
	{"CHAT_POST_CONVERSATIONS_MESSAGE_SEND", Post},
	{"CHAT_SUPPLIER_ALL_CONVERSATIONS_MESSAGE_SEND", NoResource},
	{"CHAT_BOT_USER_MESSAGE_SEND", NoResource},
	{"CHAT_CONVERSATION_READ", Conversation},
	{"offline_access", NoResource},
}

// Catalogue returns all kinds of scopes.
func Catalogue() []ScopeKind { return slices.Clone(catalogue) }

// Scopes is a sorted set of scopes, each NAME or NAME.IDENTIFIER.
type Scopes []string

// ParseScopes checks a list of scopes against the catalogue: a name that takes
// an identifier has one, the others have none.
func ParseScopes(field string, list []string) (Scopes, error) {
	if len(list) > maxScopesATime {
		return nil, status.New(status.Invalid, "%s: %d scopes, want at most %d", field, len(list), maxScopesATime)
	}
	scopes := make(Scopes, 0, len(list))
	for _, s := range list {
		if err := checkScope(field, s); err != nil {
			return nil, err
		}
		scopes = append(scopes, s)
	}
	slices.Sort(scopes)
	return slices.Compact(scopes), nil
}

func checkScope(field, scope string) error {
	refuse := func(problem string) error {
		if len(scope) > 64 {
			scope = strings.ToValidUTF8(scope[:64], "") + "…"
		}
		return status.New(status.Invalid, "%s: %q %s", field, scope, problem)
	}
	if len(scope) > scopeMaxLength {
		return refuse("is too long")
	}
	name, identifier, has := strings.Cut(scope, scopeIdentifier)
	at := slices.IndexFunc(catalogue, func(k ScopeKind) bool { return k.Name == name })
	if at < 0 {
		return refuse("is not a scope of the catalogue")
	}
	switch resource := catalogue[at].Resource; {
	case resource == NoResource && has:
		return refuse("takes no identifier")
	case resource != NoResource && identifier == "":
		return refuse("needs a " + string(resource) + " behind a dot: " + name + ".IDENTIFIER")
	case resource != NoResource && wire.CheckID(field, identifier) != nil:
		return refuse("has an identifier that names nothing")
	default:
		return nil
	}
}

// Holds says whether the set has a scope. A scope with one identifier gives
// nothing on another.
func (s Scopes) Holds(name, identifier string) bool {
	if identifier != "" {
		name += scopeIdentifier + identifier
	}
	_, ok := slices.BinarySearch(s, name)
	return ok
}

// Union returns the scopes of both sets.
func (s Scopes) Union(other Scopes) Scopes {
	all := slices.Concat(s, other)
	slices.Sort(all)
	return slices.Compact(all)
}
