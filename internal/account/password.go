package account

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"github.com/openkenar/openkenar/internal/status"
)

// The costs of a password, as OWASP's Password Storage Cheat Sheet has them for
// argon2id. Those of each password stand beside it, so that these may rise.
const (
	argonMemory  = 19 << 10 // KiB
	argonTime    = 2
	argonThreads = 1
	argonKey     = 32 // bytes
	argonSalt    = 16 // bytes
	// hashingAtOnce bounds the memory that sign-ins take.
	hashingAtOnce = 4

	minPassword = 12  // characters (NIST SP 800-63B asks for 8 at least)
	maxPassword = 256 // bytes
)

// CheckPassword refuses what is too short, or too easy to guess of its name.
func CheckPassword(name, password string) error {
	switch {
	case utf8.RuneCountInString(password) < minPassword:
		return status.New(status.Invalid, "password: fewer than %d characters; take a few words", minPassword)
	case len(password) > maxPassword:
		return status.New(status.Invalid, "password: more than %d bytes", maxPassword)
	case !utf8.ValidString(password):
		return status.New(status.Invalid, "password: it is not UTF-8")
	case strings.Contains(strings.ToLower(password), name) && len(password) < len(name)+minPassword:
		return status.New(status.Invalid, "password: it is little more than the name; take a few words")
	}
	return nil
}

// hashPassword returns what is kept of a password: PHC's text form of argon2id.
func (a *Accounts) hashPassword(ctx context.Context, password string) (string, error) {
	leave, err := a.beginHashing(ctx)
	if err != nil {
		return "", err
	}
	defer leave()
	salt := make([]byte, argonSalt)
	_, _ = rand.Read(salt) // never fails
	key := argon2.IDKey([]byte(password), salt, argonTime, argonMemory, argonThreads, argonKey)
	text := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s",
		argon2.Version, argonMemory, argonTime, argonThreads, text.EncodeToString(salt), text.EncodeToString(key)), nil
}

func (a *Accounts) beginHashing(ctx context.Context) (leave func(), err error) {
	select {
	case a.hashing <- struct{}{}:
		return func() { <-a.hashing }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// decoy takes the place of the password of an account that is not there: that
// there is none cannot be told by the time.
const decoy = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// isPassword says whether a password is the one that was kept.
func (a *Accounts) isPassword(ctx context.Context, kept, password string) (bool, error) {
	leave, err := a.beginHashing(ctx)
	if err != nil {
		return false, err
	}
	defer leave()
	var version int
	var memory, time uint32
	var threads uint8
	parts := strings.Split(kept, "$")
	if len(parts) != 6 || parts[1] != "argon2id" {
		return false, fmt.Errorf("a kept password is not argon2id")
	}
	if _, err := fmt.Sscanf(parts[2]+" "+parts[3], "v=%d m=%d,t=%d,p=%d", &version, &memory, &time, &threads); err != nil || version != argon2.Version {
		return false, fmt.Errorf("the costs of a kept password cannot be read: %q %q", parts[2], parts[3])
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[4])
	if err != nil {
		return false, fmt.Errorf("the salt of a kept password: %w", err)
	}
	key, err := base64.RawStdEncoding.DecodeString(parts[5])
	if err != nil || len(key) == 0 {
		return false, fmt.Errorf("the key of a kept password cannot be read: %w", err)
	}
	given := argon2.IDKey([]byte(password), salt, time, memory, threads, uint32(len(key))) //nolint:gosec // a few bytes
	return subtle.ConstantTimeCompare(given, key) == 1, nil
}
