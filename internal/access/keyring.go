package access

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// secretSize is the entropy of every secret that we make, in bytes.
const secretSize = 32

// userIDSize is how much of the keyed hash makes an app's id of a user, in
// bytes; 32 characters in base64url.
const userIDSize = 24

// Keyring derives what it needs from one master key.
type Keyring struct {
	seal  cipher.AEAD
	users []byte
	links []byte
}

// NewMasterKey returns a fresh master key in its text form.
func NewMasterKey() string { return base64.StdEncoding.EncodeToString(random()) }

// NewKeyring reads a master key: 32 bytes in base64 or hexadecimal.
func NewKeyring(master string) (*Keyring, error) {
	key, err := parseMaster(strings.TrimSpace(master))
	if err != nil {
		return nil, err
	}
	sealing, err := hkdf.Key(sha256.New, key, nil, "openkenar seal v1", secretSize)
	if err != nil {
		return nil, fmt.Errorf("derive the sealing key: %w", err)
	}
	users, err := hkdf.Key(sha256.New, key, nil, "openkenar user id v1", secretSize)
	if err != nil {
		return nil, fmt.Errorf("derive the user id key: %w", err)
	}
	links, err := hkdf.Key(sha256.New, key, nil, "openkenar link v1", secretSize)
	if err != nil {
		return nil, fmt.Errorf("derive the link key: %w", err)
	}
	block, err := aes.NewCipher(sealing)
	if err != nil {
		return nil, err
	}
	seal, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &Keyring{seal: seal, users: users, links: links}, nil
}

func parseMaster(text string) ([]byte, error) {
	for _, decode := range []func(string) ([]byte, error){
		hex.DecodeString, base64.StdEncoding.DecodeString, base64.RawURLEncoding.DecodeString,
	} {
		if key, err := decode(text); err == nil && len(key) == secretSize {
			return key, nil
		}
	}
	return nil, errors.New("the master key is not 32 bytes in base64 or hexadecimal; make one with: openssl rand -base64 32")
}

// Seal encrypts a secret that we must read again. The purpose binds it to its
// place: what was sealed for one app opens for no other.
func (k *Keyring) Seal(purpose string, secret []byte) []byte {
	return k.seal.Seal(nil, nil, secret, []byte(purpose)) //nolint:gosec // this AEAD makes its own random nonce
}

// Open reads what Seal made.
func (k *Keyring) Open(purpose string, sealed []byte) ([]byte, error) {
	secret, err := k.seal.Open(nil, nil, sealed, []byte(purpose))
	if err != nil {
		return nil, fmt.Errorf("open %s: the master key is not the one it was sealed with: %w", purpose, err)
	}
	return secret, nil
}

// UserID is Access.UserID.
func (k *Keyring) UserID(app, user string) string {
	mac := hmac.New(sha256.New, k.users)
	mac.Write([]byte(app))
	mac.Write([]byte{0})
	mac.Write([]byte(user))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:userIDSize])
}

// signLink returns the query of a signed link.
func (k *Keyring) signLink(path string, expires int64) string {
	end := strconv.FormatInt(expires, 10)
	return "expires=" + end + "&signature=" + k.linkSignature(path, end)
}

func (k *Keyring) linkSignature(path, expires string) string {
	mac := hmac.New(sha256.New, k.links)
	mac.Write([]byte(path))
	mac.Write([]byte{0})
	mac.Write([]byte(expires))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func (k *Keyring) linkIs(path, expires, signature string) bool {
	return hmac.Equal([]byte(signature), []byte(k.linkSignature(path, expires)))
}

// linkEnd reads the end of a link whose signature is right.
func linkEnd(expires string) int64 {
	end, err := strconv.ParseInt(expires, 10, 64)
	if err != nil {
		return 0
	}
	return end
}

func random() []byte {
	b := make([]byte, secretSize)
	_, _ = rand.Read(b) // never fails: the program ends where there is no randomness
	return b
}

// NewSecret returns 256 random bits behind a prefix that says what they are.
func NewSecret(prefix string) string {
	return prefix + base64.RawURLEncoding.EncodeToString(random())
}

// hash is how a secret of full entropy is kept: it needs no salt and no
// stretching, and it is looked up by its hash, so nothing is compared byte by
// byte.
func hash(secret string) []byte {
	h := sha256.Sum256([]byte(secret))
	return h[:]
}
