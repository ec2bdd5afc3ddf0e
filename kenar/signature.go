package kenar

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// The headers of a webhook, besides Authorization and Content-Type. Those of
// Standard Webhooks are not sent by every platform.
const (
	headerID        = "Webhook-Id"
	headerTimestamp = "Webhook-Timestamp"
	headerSignature = "Webhook-Signature"
	headerAttempt   = "Openkenar-Attempt"
)

const (
	// defaultTolerance is what the reference implementations of Standard
	// Webhooks allow.
	defaultTolerance = 5 * time.Minute
	// minSecret is the shortest secret of Standard Webhooks, in bytes.
	minSecret = 24
)

// signatures checks what a webhook is signed with.
type signatures struct {
	secrets   []*standardwebhooks.Webhook
	tolerance time.Duration
}

func newSignatures(secrets []string, tolerance time.Duration) (signatures, error) {
	s := signatures{tolerance: tolerance}
	for i, text := range secrets {
		// The library would take an empty secret, with which anybody can sign.
		raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "whsec_"))
		if err != nil {
			return s, fmt.Errorf("kenar: Secrets[%d]: not base64 after whsec_; copy it whole, as the platform shows it", i)
		}
		if len(raw) < minSecret {
			return s, fmt.Errorf("kenar: Secrets[%d]: %d bytes, want at least %d", i, len(raw), minSecret)
		}
		webhook, err := standardwebhooks.NewWebhookRaw(raw)
		if err != nil {
			return s, fmt.Errorf("kenar: Secrets[%d]: %w", i, err)
		}
		s.secrets = append(s.secrets, webhook)
	}
	return s, nil
}

func unsigned(format string, args ...any) error {
	return &answerError{status: http.StatusUnauthorized, message: fmt.Sprintf(format, args...)}
}

// checkTime refuses what was not signed just now, before the body is read.
func (s *signatures) checkTime(h http.Header, now time.Time) error {
	if len(s.secrets) == 0 {
		return nil
	}
	if h.Get(headerID) == "" || h.Get(headerSignature) == "" {
		return unsigned("webhook-id, webhook-signature: missing; this app takes signed webhooks only")
	}
	at, ok := timestamp(h)
	if !ok {
		return unsigned("webhook-timestamp: missing, or not seconds since the epoch")
	}
	if at.Before(now.Add(-s.tolerance)) || at.After(now.Add(s.tolerance)) {
		return unsigned("webhook-timestamp: more than %s from this app's clock", s.tolerance)
	}
	return nil
}

// check refuses a body that none of the secrets has signed.
func (s *signatures) check(h http.Header, body []byte) error {
	if len(s.secrets) == 0 {
		return nil
	}
	for _, secret := range s.secrets {
		err := secret.VerifyIgnoringTimestamp(body, h) // that is done, with this app's own window
		if err == nil {
			return nil
		}
		if !errors.Is(err, standardwebhooks.ErrNoMatchingSignature) {
			return unsigned("webhook-id, webhook-timestamp, webhook-signature: they cannot be read")
		}
	}
	return unsigned("webhook-signature: none of the signatures is made with a secret of this app")
}

// timestamp is when a webhook was sent.
func timestamp(h http.Header) (at time.Time, ok bool) {
	const latest = 253402300799 // the last second of the year 9999
	seconds, err := strconv.ParseInt(h.Get(headerTimestamp), 10, 64)
	if err != nil || seconds <= 0 || seconds > latest {
		return time.Time{}, false
	}
	return time.Unix(seconds, 0).UTC(), true
}
