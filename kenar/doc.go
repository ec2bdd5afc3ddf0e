// Package kenar is an app's side of the open platform of a marketplace: the
// wire of Divar's Kenar, which OpenKenar speaks too. An app is called by the
// platform when something happens that it has subscribed to, when a user opens
// it, and when a user clicks one of its buttons; and it calls the platform.
//
// # Receiving
//
// What happens comes to the app's event URL as a webhook. A [Receiver] is the
// http.Handler for it. It makes sure that the platform is who calls, reads the
// [Event], and hands it as a [Delivery] to the callback of its type:
//
//	receiver, err := kenar.NewReceiver(kenar.ReceiverOptions{
//		Callers: kenar.Callers{Keys: []string{os.Getenv("IDENTIFICATION_KEY")}},
//		OnNewChatbotMessage: func(ctx context.Context, d *kenar.Delivery) error {
//			if d.IsTest() {
//				return nil // the platform tries whether the app is there
//			}
//			return greet(ctx, d.NewChatbotMessage.Conversation.ID)
//		},
//	})
//	if err != nil {
//		log.Fatal(err)
//	}
//	http.Handle("/event", receiver)
//
// The platform hears 200 only after the callback has returned nil. Otherwise it
// sends the delivery again. [Later] says when; [Reject] says never again. What
// an app does about an event must be finished, or written down, when its
// callback returns, and that within the time of the callback's context: 8
// seconds unless [ReceiverOptions] say otherwise. Answer first and work later
// by writing the work down, not with a goroutine: a process that ends takes its
// goroutines with it.
//
// What the platform adds in time is no error: unknown fields are left alone,
// unknown values are kept as they are, events of unknown types go to OnOther. An
// app should do so too, and have a default in each switch.
//
// Deliveries of one conversation, post or transaction come one after another,
// those of others at the same time. One that failed comes again after later
// ones: when the order matters, look at the SentAt of the messages.
//
// # Doing it once
//
// A platform that has not heard the answer sends the delivery again, with the
// same webhook-id. The Receiver drops such a repeat when the callback had
// returned nil before, and answers 503 while another attempt is still at work,
// so that the callback runs to its end once. [Repeats] is where that is kept: in
// memory, or in the database of an app that is several processes or must
// remember over a restart. Without a webhook-id, messages are known by their own
// id, and other events are handed on each time ([Delivery.RepeatKey] says why).
//
// # Whom to believe
//
// Anybody can call a URL. [Callers] says whose calls count: who says the
// identification key; and, where wanted, who calls from an address of a list,
// such as [DivarAddresses]. Behind a proxy the list needs to know that, by
// TrustedProxies. [ReceiverOptions] also take the app's signing secrets: then a
// webhook must carry a signature of Standard Webhooks, made in the last minutes,
// which no eavesdropper can make.
//
// # Being opened
//
// When a user opens the app in the marketplace, or clicks a button of
// [OpenServerLink], the platform asks the app's session initialization URL for
// the page to show. A [SessionHandler] answers it. When a user clicks a button
// of [GetDynamicAction], the platform asks the dynamic action URL what to do. An
// [ActionHandler] answers it. A user waits: there are 4 seconds, and no second
// try. Neither lets an answer out that the platform would not take.
//
// # Buttons
//
// A message carries a [Keyboard] of at most three rows of three buttons, made
// with [NewKeyboard] or [Grid]; a notification up to ten buttons, made with
// [NotificationButtons]. These refuse what the platform would refuse, and name
// the field. What a button carries ([OpenServerLink], [GetDynamicAction]) and
// what a subscription carries (its metadata) comes back to the app as it was:
// [Decode] reads it.
//
// # Calling
//
// A [Client] calls the platform with the app's API key. A [User] of it calls for
// a user, with that user's token:
//
//	client, err := kenar.NewClient(kenar.Options{APIKey: os.Getenv("API_KEY")})
//	…
//	err = client.SendAsBot(ctx, conversation, kenar.BotMessage{Text: "Hello!"})
//	…
//	me, err := client.User(source).Me(ctx)
//
// The platform is Divar unless [Options] name another Host. No call follows a
// redirect, so that neither key nor token goes elsewhere.
//
// An answer that says no is an [*Error], with the HTTP status, the
// google.rpc.Code and what the platform said. [errors.Is] tells what it is:
//
//	ErrInvalid          a field is missing or wrong
//	ErrUnauthenticated  the key or the token is not known, or no longer
//	ErrPermission       the key lacks a permission, or the token a scope
//	ErrNotFound         there is no such thing
//	ErrMethod           the platform does not have this call
//	ErrConflict         it exists with other content
//	ErrPrecondition     something else has to be done first
//	ErrTooLarge         the body is over a limit
//	ErrUnsupported      the platform does not take this kind of content
//	ErrQuota            the calls of this minute or day are used up
//	ErrInternal         the platform has failed
//	ErrUnavailable      the platform does not serve now
//
// ErrUnanswered says that no answer came, and ErrAccessEnded that the user has
// to be asked again. What is refused before it is sent is ErrInvalid and no
// *Error.
//
// A call that fails is made again where that is safe, up to three times
// (Options.Retries), within its context. A call that says something (SendAsBot,
// SendAsBotTo, SendMessage, SendEvent) would say it twice; it is repeated only
// where it surely was not served:
//
//	                                     calls that say    all others
//	no connection was made               repeated          repeated
//	429                                  repeated          repeated
//	no answer, or half of one            –                 repeated
//	500, 502, 503, 504                   –                 repeated
//	any other answer                     –                 –
//
// Between two attempts it waits as long as Retry-After says, or a quarter of a
// second, then twice as long each time. What asks for more than a minute, or for
// more than the context allows, is returned at once, and Error.RetryAfter says
// how long. When a call that says something ends with ErrUnanswered,
// ErrInternal or ErrUnavailable, whether it was heard is not known; what was said
// in a conversation, [User.Conversation] can tell.
//
// [Client.Upload] takes media to the platform; the token that it returns goes
// into a message. [Client.Events] is for an app that nobody can call: it asks for
// the events that would be pushed.
//
// # OAuth
//
// A user is asked with [golang.org/x/oauth2]. [NewOAuth] makes its configuration
// from scopes such as [ScopeUserID] or [ScopePostConversationsRead], and refuses
// what the platform would refuse. Send the browser to AuthCodeURL, with a state
// of its own and a PKCE challenge; when it comes back, [AuthCode] checks the
// state and returns the code, and Exchange makes a pair of tokens of it. Exchange
// a code once: one that comes again takes back what it gave. [Granted] says what
// the user has agreed to.
//
// An access token lives an hour. With [ScopeOffline] there is a refresh token
// beside it, and a [TokenSource] renews the pair in time. It stores the new pair
// before it uses it, and asks again where the answer was lost: the platform
// accepts a replaced refresh token for two minutes more. An app that is several
// processes gives it a Lock.
//
// Subscriptions die with the access token that they were made with.
// [User.KeepSubscribed] registers them again after each renewal, and sees to it
// that there is one; [User.Resubscribe] does it once, for an app with a schedule
// of its own. What was registered with the old token goes on for two minutes
// after a renewal: who registers again within them misses nothing.
package kenar
