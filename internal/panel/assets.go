package panel

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed assets
var assetFiles embed.FS

// assetPrefix is where assets are. Behind it stands the hash of their content,
// so that a browser may keep them for ever.
const assetPrefix = "/panel/assets/"

// asset is a file of the pages, as it is served.
type asset struct {
	path    string // with the hash of its content
	typ     string
	content []byte
}

// assets are all of them, by name.
type assets map[string]asset

var assetTypes = map[string]string{
	".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".woff2": "font/woff2", ".svg": "image/svg+xml",
}

// loadAssets reads what is embedded. The stylesheet names the font by its own
// path, so it is hashed with that in it.
func loadAssets() (assets, error) {
	all := assets{}
	names, err := fs.Glob(assetFiles, "assets/*")
	if err != nil {
		return nil, err
	}
	add := func(name string, content []byte) {
		sum := sha256.Sum256(content)
		ext := path.Ext(name)
		all[name] = asset{
			path: assetPrefix + strings.TrimSuffix(name, ext) + "." + hex.EncodeToString(sum[:8]) + ext,
			typ:  assetTypes[ext], content: content,
		}
	}
	for _, sheet := range []bool{false, true} {
		for _, file := range names {
			name := path.Base(file)
			if assetTypes[path.Ext(name)] == "" || sheet != (path.Ext(name) == ".css") { // a licence stays beside its work
				continue
			}
			content, err := assetFiles.ReadFile(file)
			if err != nil {
				return nil, err
			}
			if sheet {
				content = bytes.ReplaceAll(content, []byte("vazirmatn.woff2"), []byte(all["vazirmatn.woff2"].path))
			}
			add(name, content)
		}
	}
	return all, nil
}

// shipped is read once: what is embedded does not change.
var shipped = func() assets {
	all, err := loadAssets()
	if err != nil {
		panic("panel: embedded assets: " + err.Error())
	}
	return all
}()

// assetPath is where a page finds an asset.
func assetPath(name string) string { return shipped[name].path }

// serveAsset serves an asset. A path with another hash is of another version, and
// not there: it must not be kept under this one's name.
func serveAsset(w http.ResponseWriter, r *http.Request) {
	for name, a := range shipped {
		if a.path != r.URL.Path {
			continue
		}
		h := w.Header()
		h.Set("Content-Type", a.typ)
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
		h.Set("X-Content-Type-Options", "nosniff")
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(a.content))
		return
	}
	http.NotFound(w, r)
}
