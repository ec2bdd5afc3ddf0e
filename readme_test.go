package openkenar_test

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	pasted  = regexp.MustCompile("(?s)```(?:sh|json)\n(.*?)```")
	comment = regexp.MustCompile(`(?m)\s*#.*$`)
	link    = regexp.MustCompile(`\]\(([^)]+)\)`)
)

// TestPersianReadme keeps the page in Persian beside the English one: the same
// lines to paste, the same sections and links.
func TestPersianReadme(t *testing.T) {
	t.Parallel()
	type page struct{ pasted, links []string }
	read := func(name, otherLanguage string) (p page, sections int) {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text := string(content)
		for _, block := range pasted.FindAllStringSubmatch(text, -1) {
			p.pasted = append(p.pasted, comment.ReplaceAllString(block[1], ""))
		}
		for _, l := range link.FindAllStringSubmatch(text, -1) {
			if l[1] != otherLanguage {
				p.links = append(p.links, l[1])
			}
		}
		slices.Sort(p.links)
		return p, strings.Count(text, "\n## ")
	}
	english, sections := read("README.md", "README.fa.md")
	persian, here := read("README.fa.md", "README.md")
	if here != sections {
		t.Errorf("README.fa.md has %d sections, README.md %d", here, sections)
	}
	for i, block := range english.pasted {
		if i >= len(persian.pasted) || persian.pasted[i] != block {
			t.Errorf("README.fa.md lacks, as block %d to paste:\n%s", i+1, block)
			break
		}
	}
	if len(persian.pasted) > len(english.pasted) {
		t.Errorf("README.fa.md has %d blocks to paste, README.md %d", len(persian.pasted), len(english.pasted))
	}
	if !slices.Equal(persian.links, english.links) {
		t.Errorf("README.fa.md links to\n%q, README.md to\n%q", persian.links, english.links)
	}
}

// TestLinks: what the pages of the repository link to is there.
func TestLinks(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"README.md", "README.fa.md", "CONTRIBUTING.md", "CHANGELOG.md"} {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range link.FindAllStringSubmatch(string(content), -1) {
			file, _, _ := strings.Cut(l[1], "#")
			if strings.Contains(file, "://") || file == "" {
				continue
			}
			if _, err := fs.Stat(os.DirFS("."), path.Clean(file)); err != nil {
				t.Errorf("%s links to %s, which is not there", name, l[1])
			}
		}
	}
}
