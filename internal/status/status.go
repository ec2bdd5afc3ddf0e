// Package status holds the one error type that crosses package borders and the
// one table that says what each kind of error is on the wire (contract,
// section 3). A domain package returns New(kind, …); a face renders it. An
// error without a kind is our fault: it is shown as 500 with no detail.
package status

import (
	"errors"
	"fmt"
	"time"
)

// Kind says what went wrong, in the words of the contract's error table.
type Kind int

// The rows of the error table.
const (
	Internal Kind = iota
	Invalid
	Unauthenticated
	PermissionDenied
	NotFound
	MethodNotAllowed
	Conflict
	FailedPrecondition
	TooLarge
	UnsupportedMediaType
	ResourceExhausted
	Unavailable
)

// wire is the table itself: the HTTP status and the google.rpc code of a kind.
var wire = [...]struct{ http, code int }{
	Internal:             {500, 13},
	Invalid:              {400, 3},
	Unauthenticated:      {401, 16},
	PermissionDenied:     {403, 7},
	NotFound:             {404, 5},
	MethodNotAllowed:     {405, 12},
	Conflict:             {409, 6},
	FailedPrecondition:   {412, 9},
	TooLarge:             {413, 8},
	UnsupportedMediaType: {415, 3},
	ResourceExhausted:    {429, 8},
	Unavailable:          {503, 14},
}

// HTTP returns the HTTP status of the kind.
func (k Kind) HTTP() int { return wire[k].http }

// Code returns the google.rpc code of the kind.
func (k Kind) Code() int { return wire[k].code }

// Error is an error whose message may be shown to the caller.
type Error struct {
	Kind    Kind
	Message string
	Cause   error         // for the log only; may be nil
	After   time.Duration // when to try again; 0: not said
}

// New makes an error of a kind. The message names the field, the value's
// problem and the way out; it holds no secret and nothing of our insides.
func New(kind Kind, format string, args ...any) error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// Later is New(ResourceExhausted, …) with the time after which to try again.
func Later(after time.Duration, format string, args ...any) error {
	return &Error{Kind: ResourceExhausted, Message: fmt.Sprintf(format, args...), After: after}
}

// RetryAfter returns when to try again after err; 0 when it does not say.
func RetryAfter(err error) time.Duration {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.After
	}
	return 0
}

// Wrap is New with the cause that the log shows and the caller does not see.
func Wrap(kind Kind, cause error, format string, args ...any) error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...), Cause: cause}
}

func (e *Error) Error() string {
	if e.Cause != nil {
		return e.Message + ": " + e.Cause.Error()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// KindOf returns the kind of the first *Error in err's chain, else Internal.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// Status is the body of every error answer: a google.rpc.Status.
type Status struct {
	Code    int      `json:"code"`
	Message string   `json:"message"`
	Details []string `json:"details"` // always empty, never null
}

// Of renders err for its reader. Of an error without a kind nothing leaks.
func Of(err error) Status {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		e = &Error{Kind: Internal, Message: "internal error; the server's log has the details"}
	}
	return Status{Code: e.Kind.Code(), Message: e.Message, Details: []string{}}
}
