package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/openkenar/openkenar/internal/cli"
)

var (
	fenced = regexp.MustCompile("(?s)```sh\n(.*?)```")
	// program is a call in a shell, or in a unit of systemd.
	program = regexp.MustCompile(`(?:^|[\s=/|'])openkenar ([a-z][^|>&;#']*)`)
	// list is a call as a list of strings: in a Dockerfile, or a compose file.
	list     = regexp.MustCompile(`(?:CMD|command:|test:) (\[.*\])`)
	variable = regexp.MustCompile(`\bOPENKENAR_[A-Z_]+\b`)
)

// commandLines returns the arguments of each call of the program in a text.
func commandLines(t *testing.T, text string) (calls [][]string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if m := list.FindStringSubmatch(line); m != nil {
			var args []string
			if err := json.Unmarshal([]byte(m[1]), &args); err != nil {
				t.Errorf("%s: %v", line, err)
			}
			if len(args) > 0 && args[0] == "CMD" {
				args = args[1:]
			}
			switch {
			case len(args) > 1 && args[0] == "openkenar":
				calls = append(calls, args[1:])
			case len(args) == 1:
				calls = append(calls, args) // of the image's entry point
			}
			continue
		}
		if strings.HasPrefix(line, "#") || strings.Contains(line, "go build") {
			continue
		}
		for _, m := range program.FindAllStringSubmatch(line, -1) {
			args := strings.Fields(strings.NewReplacer(`"$OPENKENAR_DATABASE"`, "postgres://host/db", `"`, "").Replace(m[1]))
			if len(args) > 0 && args[len(args)-1] == `\` {
				t.Errorf("%s: write the command on one line", line)
			}
			calls = append(calls, args)
		}
	}
	return calls
}

// TestCommandLinesOfFiles: what the files for operators call is there.
func TestCommandLinesOfFiles(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	for file, least := range map[string]int{
		"Dockerfile": 2, "deploy/compose.yaml": 1, "deploy/openkenar.service": 1, "deploy/Caddyfile": 0,
		"docs/OPERATIONS.md": 5, "docs/PERFORMANCE.md": 2, "README.md": 5,
	} {
		content, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
		if err != nil {
			t.Fatal(err)
		}
		text := string(content)
		if strings.HasSuffix(file, ".md") {
			var b strings.Builder
			for _, m := range fenced.FindAllStringSubmatch(text, -1) {
				b.WriteString(m[1])
			}
			text = b.String()
		}
		calls := commandLines(t, text)
		if len(calls) < least {
			t.Errorf("%s: %d calls of the program were found, want at least %d: %q", file, len(calls), least, calls)
		}
		settings := map[string]string{"OPENKENAR_DATA": "dir", "OPENKENAR_DATABASE": "postgres://host/db"}
		for _, args := range calls {
			if err := cli.Parse(t.Context(), args, settings); err != nil {
				t.Errorf("%s: openkenar %s: %v", file, strings.Join(args, " "), err)
			}
		}
		for _, name := range variable.FindAllString(string(content), -1) {
			if err := cli.Parse(t.Context(), []string{"version"}, map[string]string{name: "x"}); err != nil && strings.Contains(err.Error(), "nothing reads it") {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}
