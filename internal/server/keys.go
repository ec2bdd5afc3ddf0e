package server

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"unicode"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/store"
)

const (
	hostKeyFile   = "host.key"
	masterKeyFile = "master.key"
	privateMode   = 0o600
	minHostKey    = 16 // characters
)

// hostKeys are the keys of the host API.
type hostKeys struct {
	list []string
	made string // the file of a key that was just made
}

// SplitKeys takes keys apart that stand on lines of their own or behind commas.
func SplitKeys(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
}

func loadHostKeys(o Options, log *slog.Logger) (hostKeys, error) {
	k := hostKeys{list: o.HostKeys}
	if len(k.list) == 0 {
		file := o.HostKeyFile
		if file == "" {
			text, made, err := keptSecret(filepath.Join(o.Data, hostKeyFile), func() string { return access.NewSecret("okh_") })
			if err != nil {
				return k, fmt.Errorf("host key: %w", err)
			}
			if made {
				k.made = filepath.Join(o.Data, hostKeyFile)
				log.Info("a host key was made", "file", k.made)
			}
			k.list = SplitKeys(text)
		} else {
			text, err := os.ReadFile(file) //nolint:gosec // the operator names the file
			if err != nil {
				return k, fmt.Errorf("host key: %w", err)
			}
			k.list = SplitKeys(string(text))
		}
	}
	if len(k.list) == 0 {
		return k, errors.New("host key: there is none; set OPENKENAR_HOST_KEY or --host-key-file")
	}
	for _, key := range k.list {
		if len(key) < minHostKey {
			return k, fmt.Errorf("host key: one has fewer than %d characters; make one with: openssl rand -base64 32", minHostKey)
		}
	}
	return k, nil
}

const (
	masterCheck   = "master_key_check" // the setting that only the ledger's own master key opens
	masterPurpose = "master key check"
)

// loadKeyring takes the master key, and refuses one that is not the ledger's:
// with another, every app would know every user under another id, and no
// sealed secret could be read.
func loadKeyring(ctx context.Context, o Options, s *store.Store, log *slog.Logger) (*access.Keyring, error) {
	check, err := s.Setting(ctx, masterCheck)
	if err != nil {
		return nil, err
	}
	text := o.MasterKey
	if text == "" {
		file := filepath.Join(o.Data, masterKeyFile)
		if _, err := os.Stat(file); check != "" && errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("master key: %s is gone and OPENKENAR_MASTER_KEY is not set; this ledger was made with one of them: bring it back", file)
		}
		kept, made, err := keptSecret(file, access.NewMasterKey)
		if err != nil {
			return nil, fmt.Errorf("master key: %w", err)
		}
		if made {
			log.Info("a master key was made; keep a copy: without it sealed secrets cannot be read", "file", file)
		}
		text = kept
	}
	keyring, err := access.NewKeyring(text)
	if err != nil {
		return nil, err
	}
	if check == "" { // unless another node was first
		sealed := base64.StdEncoding.EncodeToString(keyring.Seal(masterPurpose, []byte(masterCheck)))
		if check, err = s.KeepSetting(ctx, masterCheck, sealed); err != nil {
			return nil, err
		}
	}
	return keyring, fits(keyring, check)
}

// fits refuses a master key that is not the one of the ledger with this check.
func fits(keyring *access.Keyring, check string) error {
	sealed, err := base64.StdEncoding.DecodeString(check)
	if err == nil {
		_, err = keyring.Open(masterPurpose, sealed)
	}
	if err != nil {
		return fmt.Errorf("master key: it is not the one that this ledger was made with; bring that one back: %w", err)
	}
	return nil
}

// keptSecret reads a secret from a file, or makes it and keeps it there.
func keptSecret(file string, fresh func() string) (text string, made bool, err error) {
	b, err := os.ReadFile(file) //nolint:gosec // a file of the data directory
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return strings.TrimSpace(string(b)), false, err
	}
	text = fresh()
	return text, true, writePrivate(file, []byte(text+"\n"))
}

// writePrivate replaces a file whole, readable by its owner only, and returns
// once it is on disk.
func writePrivate(file string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(privateMode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(file))
}

// syncDir makes a renaming in a directory outlast a power cut.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // has no such thing
	}
	d, err := os.Open(dir) //nolint:gosec // the data directory
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
