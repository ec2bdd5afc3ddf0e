package server

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/openkenar/openkenar/internal/access"
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
			k.list = strings.Fields(text)
		} else {
			text, err := os.ReadFile(file) //nolint:gosec // the operator names the file
			if err != nil {
				return k, fmt.Errorf("host key: %w", err)
			}
			k.list = strings.Fields(string(text))
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

func loadKeyring(o Options, log *slog.Logger) (*access.Keyring, error) {
	text := o.MasterKey
	if text == "" {
		file := filepath.Join(o.Data, masterKeyFile)
		kept, made, err := keptSecret(file, access.NewMasterKey)
		if err != nil {
			return nil, fmt.Errorf("master key: %w", err)
		}
		if made {
			log.Info("a master key was made; keep a copy: without it sealed secrets cannot be read", "file", file)
		}
		text = kept
	}
	return access.NewKeyring(text)
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
	return nil
}
