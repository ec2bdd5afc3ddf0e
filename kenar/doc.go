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
package kenar
