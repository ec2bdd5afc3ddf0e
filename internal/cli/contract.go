package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/openkenar/openkenar/internal/contract"
)

type contractCmd struct {
	Name string `arg:"" optional:"" default:"openapi.json" help:"The document: openapi.json, openapi-host.json or a schema, such as schemas/events/NEW_MESSAGE.json."`
	To   string `type:"path" placeholder:"DIR" help:"Write all documents into this directory."`

	Against string `type:"existingfile" placeholder:"FILE" help:"Tell what of the document breaks those who rely on this older one; the exit code is 1 then."`
}

// Run prints a document, or writes all of them.
func (c *contractCmd) Run(call *call) error {
	files, err := contract.Files()
	if err != nil {
		return err
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Name)
		switch {
		case c.To != "":
			if err := writeFile(filepath.Join(c.To, filepath.FromSlash(f.Name)), f.Content); err != nil {
				return err
			}
		case f.Name == c.Name && c.Against != "":
			return against(call, c.Against, f.Content)
		case f.Name == c.Name:
			_, err := call.Out.Write(f.Content)
			return err
		}
	}
	if c.To == "" {
		return fmt.Errorf("there is no document %q; there are %s", c.Name, strings.Join(names, ", "))
	}
	return nil
}

// against tells what breaks since an older document.
func against(call *call, older string, content []byte) error {
	before, err := os.ReadFile(older) //nolint:gosec // the file that was named
	if err != nil {
		return err
	}
	found, err := contract.Breaking(before, content)
	if err != nil {
		return fmt.Errorf("%s: %w", older, err)
	}
	for _, what := range found {
		fmt.Fprintln(call.Out, what)
	}
	if len(found) > 0 {
		return errFound
	}
	return nil
}

// writeFile writes a document that everybody may read.
func writeFile(name string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil { //nolint:gosec // documents for everybody
		return err
	}
	return os.WriteFile(name, content, 0o644) //nolint:gosec // as above
}
