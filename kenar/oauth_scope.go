package kenar

import (
	"fmt"
	"slices"
	"strings"
)

// Scope is what an app asks a user for: a name, or a name and the identifier of
// one post or conversation. A scope with an identifier gives nothing on another.
type Scope string

// The scopes without an identifier.
const (
	ScopeUserID               Scope = "USER_ID"                                      // know the user's id in this app
	ScopeUserPhone            Scope = "USER_PHONE"                                   // see the user's phone number
	ScopeUserPosts            Scope = "USER_POSTS_GET"                               // see the user's posts and hear of their changes
	ScopeSendEvent            Scope = "SEND_EVENT"                                   // send the user notifications
	ScopeAccessRevocation     Scope = "NOTIFICATION_ACCESS_REVOCATION"               // hear when the user takes the access away; with ScopeUserID
	ScopeAllConversationsRead Scope = "CHAT_SUPPLIER_ALL_CONVERSATIONS_READ"         // hear of messages on all posts of the user
	ScopeAllConversationsSend Scope = "CHAT_SUPPLIER_ALL_CONVERSATIONS_MESSAGE_SEND" // write for the user in the conversations on all posts
	ScopeBotMessageSend       Scope = "CHAT_BOT_USER_MESSAGE_SEND"                   // write to the user as the app's chatbot
	ScopeOffline              Scope = "offline_access"                               // renew the access without the user: gives a refresh token
)

const (
	scopePostConversationsRead = "CHAT_POST_CONVERSATIONS_READ"
	scopePostConversationsSend = "CHAT_POST_CONVERSATIONS_MESSAGE_SEND"
	scopeConversationSend      = "CONVERSATION_SEND_MESSAGE"
	scopeConversationRead      = "CHAT_CONVERSATION_READ"

	scopeDot  = "." // between name and identifier
	maxScope  = 256 // bytes
	maxScopes = 100
)

// ScopePostConversationsRead lets the app hear of messages in the conversations
// on a post.
func ScopePostConversationsRead(postToken string) Scope {
	return scopeOn(scopePostConversationsRead, postToken)
}

// ScopePostConversationsSend lets the app write for the user in the conversations
// on a post.
func ScopePostConversationsSend(postToken string) Scope {
	return scopeOn(scopePostConversationsSend, postToken)
}

// ScopeConversationSend lets the app write for the user in a conversation.
func ScopeConversationSend(conversation string) Scope {
	return scopeOn(scopeConversationSend, conversation)
}

// ScopeConversationRead lets the app read a conversation.
func ScopeConversationRead(conversation string) Scope {
	return scopeOn(scopeConversationRead, conversation)
}

func scopeOn(name, identifier string) Scope { return Scope(name + scopeDot + identifier) }

// takesIdentifier says of each scope of OpenKenar whether it takes an identifier.
var takesIdentifier = map[string]bool{
	string(ScopeUserID): false, string(ScopeUserPhone): false, string(ScopeUserPosts): false, string(ScopeSendEvent): false,
	string(ScopeAccessRevocation): false, string(ScopeAllConversationsRead): false, string(ScopeAllConversationsSend): false,
	string(ScopeBotMessageSend): false, string(ScopeOffline): false,
	scopePostConversationsRead: true, scopePostConversationsSend: true, scopeConversationSend: true, scopeConversationRead: true,
}

// Scopes checks scopes and returns them as oauth2.Config wants them, each once.
// It refuses what OpenKenar would: an identifier that is empty or missing, longer
// than 64 bytes, not printable ASCII without spaces, or no segment of a path; one
// where there is none; more than 100 scopes. Of a name that it does not know it
// checks only that it is a scope by RFC 6749 (3.3).
func Scopes(scopes ...Scope) ([]string, error) {
	if len(scopes) > maxScopes {
		return nil, invalid("scopes", fmt.Sprintf("%d, want at most %d", len(scopes), maxScopes))
	}
	list := make([]string, 0, len(scopes))
	for _, s := range scopes {
		if problem := s.problem(); problem != "" {
			return nil, invalid("scope "+oneLine(string(s), 100), problem)
		}
		if !slices.Contains(list, string(s)) {
			list = append(list, string(s))
		}
	}
	return list, nil
}

// problem says what is wrong with a scope, "" for nothing.
func (s Scope) problem() string {
	name, identifier, has := strings.Cut(string(s), scopeDot)
	takes, known := takesIdentifier[name]
	switch {
	case s == "":
		return "must not be empty"
	case len(s) > maxScope:
		return fmt.Sprintf("%d bytes, want at most %d", len(s), maxScope)
	case strings.ContainsFunc(string(s), unprintable):
		return "want printable ASCII without spaces"
	case !known && strings.ContainsAny(string(s), `"\`):
		return `" and \ are not for scopes`
	case !known:
		return ""
	case has && !takes:
		return "takes no identifier"
	case takes && identifier == "":
		return "needs the identifier of a post or conversation: " + name + ".IDENTIFIER"
	case takes && checkID("", identifier) != nil:
		return checkID("its identifier", identifier).Error()
	default:
		return ""
	}
}
