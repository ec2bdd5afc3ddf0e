package openapi

import (
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/api"
	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/wire"
)

const (
	// uploadTime is how long an upload may take, whatever it may take otherwise
	// to read a request.
	uploadTime = 10 * time.Minute
	// multipartRoom is what a multipart body may hold besides its file, in bytes.
	multipartRoom = 64 << 10
	fileField     = "file"
)

type uploadToken struct {
	Token string `json:"token"`
}

func (a *API) uploadToken(r *http.Request, k access.Key) (any, error) {
	text, err := a.access.IssueUploadToken(r.Context(), k)
	return uploadToken{text}, err
}

// uploaded is the answer to an upload.
type uploaded struct {
	ID     string `json:"id"` // the media token that a message carries
	Status string `json:"status"`
}

const uploadedOK = "ok"

// upload takes a file as it comes. The token goes before the body.
func (a *API) upload(w http.ResponseWriter, r *http.Request) error {
	app, err := a.access.UploadToken(r.Context(), api.Bearer(r))
	if err != nil {
		return err
	}
	if a.quotas != nil {
		if err := a.quotas.Spend(r.Context(), access.Key{App: app.Slug, PerMinute: app.PerMinute, PerDay: app.PerDay}); err != nil {
			return err
		}
	}
	kind := chat.MediaKind(r.PathValue("kind"))
	limit, err := chat.MediaLimit(kind)
	if err != nil {
		return err
	}
	if r.ContentLength > limit+multipartRoom {
		return status.New(status.TooLarge, "file: more than %d bytes", limit)
	}
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(uploadTime)); err != nil {
		return err
	}
	name, content, err := filePart(r)
	if err != nil {
		return err
	}
	u, err := a.media.Save(r.Context(), chat.Receipt{
		App: app.Slug, Kind: kind, Name: name, Content: content,
		Still: func() error { _, err := a.access.UploadToken(r.Context(), api.Bearer(r)); return err },
	})
	if err != nil {
		return err
	}
	return api.Answer(w, http.StatusOK, uploaded{u.ID, uploadedOK})
}

// filePart finds the file in a multipart body.
func filePart(r *http.Request) (name string, content io.Reader, err error) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "multipart/form-data" {
		return "", nil, status.New(status.UnsupportedMediaType, "Content-Type: %q; send multipart/form-data with a field %q",
			wire.Clip(r.Header.Get("Content-Type")), fileField)
	}
	before := &io.LimitedReader{R: r.Body, N: multipartRoom}
	r.Body = struct {
		io.Reader
		io.Closer
	}{before, r.Body}
	parts, err := r.MultipartReader()
	if err != nil {
		return "", nil, status.New(status.Invalid, "body: not multipart/form-data: %s", err)
	}
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return "", nil, status.New(status.Invalid, "%s: missing; send the file in this field", fileField)
		}
		if err != nil {
			return "", nil, status.Wrap(status.Invalid, err, "body: the multipart form cannot be read")
		}
		if part.FormName() == fileField {
			before.N = math.MaxInt64 // Save has the limit of the file itself
			return part.FileName(), part, nil
		}
	}
}

// getMedia serves a file to whoever has a link to it. It is never taken for a
// page of this platform.
func (a *API) getMedia(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	if err := a.access.CheckLink(chat.MediaPath(id), r.URL.Query().Get("expires"), r.URL.Query().Get("signature")); err != nil {
		return err
	}
	u, content, err := a.media.Open(r.Context(), id)
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }()
	h := w.Header()
	h.Set("Content-Type", u.MIME)
	h.Set("Content-Disposition", mime.FormatMediaType("inline", map[string]string{"filename": u.Name}))
	if u.Kind == "file" {
		h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": u.Name}))
	}
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("Cache-Control", "private, max-age=3600")
	http.ServeContent(api.Patient(w), r, "", u.CreatedAt, content)
	return nil
}
