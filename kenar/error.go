package kenar

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// What can go wrong with a call. Ask with errors.Is; errors.As with *Error
// gives what the platform said.
var (
	// ErrInvalid: a field is missing or wrong. Refused by the platform, or by
	// this package before anything was sent.
	ErrInvalid = errors.New("kenar: invalid request")
	// ErrUnauthenticated: no, an unknown or a revoked API key; or no, an unknown,
	// expired or revoked access token; or a wrong client secret.
	ErrUnauthenticated = errors.New("kenar: unauthenticated")
	// ErrPermission: the key lacks the permission, the token lacks the scope, or
	// the thing is not the user's own. The message says which.
	ErrPermission = errors.New("kenar: permission denied")
	// ErrNotFound: there is no such thing.
	ErrNotFound = errors.New("kenar: not found")
	// ErrMethod: the platform does not have this call, or this method of it.
	ErrMethod = errors.New("kenar: no such method")
	// ErrConflict: it exists with other content.
	ErrConflict = errors.New("kenar: conflict")
	// ErrPrecondition: something else has to be done first; for instance, the app
	// has no event URL, or the other side of the conversation has blocked the user.
	ErrPrecondition = errors.New("kenar: precondition failed")
	// ErrTooLarge: the body is over the platform's limit.
	ErrTooLarge = errors.New("kenar: too large")
	// ErrUnsupported: the platform does not take this kind of content.
	ErrUnsupported = errors.New("kenar: unsupported content")
	// ErrQuota: the app has used up its calls of this minute or day.
	// Error.RetryAfter says when to come again.
	ErrQuota = errors.New("kenar: quota reached")
	// ErrInternal: the platform has failed.
	ErrInternal = errors.New("kenar: platform failed")
	// ErrUnavailable: the platform, or what stands before it, does not serve now.
	ErrUnavailable = errors.New("kenar: platform unavailable")
	// ErrUnanswered: no answer came: the connection could not be made, or it
	// broke, or the time ran out. Whether the call was served is not known.
	ErrUnanswered = errors.New("kenar: no answer")
	// ErrAccessEnded: the user's tokens cannot be renewed: the user took the
	// access away, or it has lapsed. Ask the user again.
	ErrAccessEnded = errors.New("kenar: access has ended; ask the user again")
	// ErrDenied: the user was asked, and has said no.
	ErrDenied = errors.New("kenar: the user has denied the access")
)

// Error is an answer that says no. It holds neither the API key nor a token,
// even where the platform has repeated them.
type Error struct {
	Method string // of the request
	Path   string // of the request, without its query
	// HTTPStatus is the status of the answer.
	HTTPStatus int
	// Code is the answer's google.rpc.Code; 0 where it has none, as in a page that
	// a proxy made.
	Code int
	// OAuth is the error code of RFC 6749, as "invalid_grant"; "" but of the token
	// endpoint.
	OAuth string
	// Message is what the platform said; where its answer is not a
	// google.rpc.Status, the beginning of it.
	Message string
	// Details are those of the google.rpc.Status.
	Details []json.RawMessage
	// RetryAfter is when to try again, from now; 0 where the answer does not say.
	RetryAfter time.Duration
}

// maxErrorText and maxErrorPath bound what Error shows of a message and of a path,
// in bytes.
const (
	maxErrorText = 500
	maxErrorPath = 200
)

// Error names the call, the status and what the platform said, on one line.
func (e *Error) Error() string {
	said := oneLine(e.Message, maxErrorText)
	if said == "" {
		said = "no reason given"
	}
	if e.OAuth != "" && e.OAuth != e.Message {
		said = oneLine(e.OAuth, maxErrorText) + ": " + said
	}
	return fmt.Sprintf("kenar: %s %s: HTTP %d: %s", e.Method, oneLine(e.Path, maxErrorPath), e.HTTPStatus, said)
}

// Is makes errors.Is work with this package's errors.
func (e *Error) Is(target error) bool { return target == e.kind() }

// kind goes by the google.rpc.Code, where there is one: gateways agree about
// those, and not about the HTTP status of each.
func (e *Error) kind() error {
	switch {
	case e.OAuth == "invalid_grant":
		return ErrAccessEnded
	case e.OAuth == "invalid_scope" || e.OAuth == "unauthorized_client":
		return ErrPermission
	case e.HTTPStatus == http.StatusRequestEntityTooLarge:
		return ErrTooLarge
	case e.HTTPStatus == http.StatusUnsupportedMediaType:
		return ErrUnsupported
	}
	if kind, ok := kindOfCode[e.Code]; ok {
		return kind
	}
	return kindOfStatus[e.HTTPStatus]
}

var kindOfCode = map[int]error{
	3: ErrInvalid, 5: ErrNotFound, 6: ErrConflict, 7: ErrPermission, 8: ErrQuota, 9: ErrPrecondition,
	12: ErrMethod, 13: ErrInternal, 14: ErrUnavailable, 16: ErrUnauthenticated,
}

var kindOfStatus = map[int]error{
	http.StatusBadRequest:          ErrInvalid,
	http.StatusUnauthorized:        ErrUnauthenticated,
	http.StatusForbidden:           ErrPermission,
	http.StatusNotFound:            ErrNotFound,
	http.StatusMethodNotAllowed:    ErrMethod,
	http.StatusConflict:            ErrConflict,
	http.StatusPreconditionFailed:  ErrPrecondition,
	http.StatusTooManyRequests:     ErrQuota,
	http.StatusInternalServerError: ErrInternal,
	http.StatusNotImplemented:      ErrMethod,
	http.StatusBadGateway:          ErrUnavailable,
	http.StatusServiceUnavailable:  ErrUnavailable,
	http.StatusGatewayTimeout:      ErrUnavailable,
}

// invalid is a refusal before anything is sent.
func invalid(field, problem string) error {
	return fmt.Errorf("%w: %s: %s", ErrInvalid, field, problem)
}

// invalidIn is invalid for what a check of the part of a request has found.
func invalidIn(field string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %s: %w", ErrInvalid, field, err)
}

// maxNotStatus bounds what is kept of an answer that is not a google.rpc.Status,
// in bytes.
const maxNotStatus = 200

// errorOf reads an answer that says no.
func errorOf(status int, header http.Header, body []byte) *Error {
	e := &Error{HTTPStatus: status, RetryAfter: retryAfter(header.Get("Retry-After"), time.Now())}
	var said struct {
		Code    int               `json:"code"`
		Message *string           `json:"message"`
		Details []json.RawMessage `json:"details"`
	}
	if err := json.Unmarshal(body, &said); err == nil && said.Message != nil {
		e.Code, e.Message, e.Details = said.Code, *said.Message, said.Details
		return e
	}
	e.Message = oneLine(string(body), maxNotStatus)
	switch to := header.Get("Location"); {
	case status >= 300 && status < 400 && to != "":
		// Not the whole address: its query may hold a secret of somebody.
		to, _, _ = strings.Cut(to, "?")
		e.Message = "it redirects to " + oneLine(to, maxNotStatus) + "; calls follow no redirect; set Host to where the platform is"
	case e.Message == "":
		e.Message = strings.ToLower(http.StatusText(status))
	}
	return e
}

// maxRetryAfter is the longest time that an answer can ask to wait.
const maxRetryAfter = 365 * 24 * time.Hour

// retryAfter reads the header (RFC 9110, 10.2.3); 0 where it says nothing.
func retryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil {
		return time.Duration(min(max(seconds, 0), int64(maxRetryAfter/time.Second))) * time.Second
	} else if errors.Is(err, strconv.ErrRange) && seconds == math.MaxInt64 {
		return maxRetryAfter
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

// oneLine makes a stranger's text fit for a line of a log.
func oneLine(text string, most int) string {
	// A byte may be worth four in the line; what is far behind need not be read.
	clipped := len(text) > 4*most
	if clipped {
		text = text[:4*most]
	}
	text = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, "�"), func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r) && r != '\u200c' // which Persian needs
	}), " ")
	if len(text) <= most && !clipped {
		return text
	}
	end := min(len(text), most)
	for end > 0 && end < len(text) && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}
