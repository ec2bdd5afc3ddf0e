package chat

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg" // the formats of images
	_ "image/png"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/gabriel-vasile/mimetype"
	"github.com/google/uuid"

	"github.com/openkenar/openkenar/internal/status"
)

const (
	// keepUnsent is how long media waits for a message that carries it.
	keepUnsent = 24 * time.Hour
	// linkLife is how long a link to media works: longer than the last retry of
	// a webhook. The host API gives a fresh one each time.
	linkLife = 7 * 24 * time.Hour
	// sniffed is how much of a file decides what it is, in bytes.
	sniffed    = 1 << 20
	sweepEvery = 10 * time.Minute // for media that nobody needs
	sweepStep  = 500              // uploads
	unfinished = "unfinished"     // the directory of uploads that are not judged yet
)

// MediaKind is the last part of an upload's path.
type MediaKind string

// kind is what the contract's list of uploads says of one.
type kind struct {
	limit int64 // bytes
	types []string
	names string // of the types, for people
	as    MessageType
}

var kinds = map[MediaKind]kind{
	"image": {5 << 20, []string{"image/png", "image/vnd.mozilla.apng", "image/jpeg"}, "PNG or JPEG", Image},
	"file": {5 << 20, []string{
		"application/pdf", "application/msword", "application/vnd.ms-excel", "application/vnd.ms-powerpoint",
		"application/vnd.openxmlformats-officedocument.wordprocessingml.document",
		"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
		"application/vnd.openxmlformats-officedocument.presentationml.presentation",
	}, "PDF, DOC, DOCX, XLS, XLSX, PPT or PPTX", File},
	"voice": {3 << 19, []string{"audio/x-m4a", "audio/mp4", "video/3gpp"}, "M4A or 3GP", Voice},
	"video": {50 << 20, []string{"video/mp4"}, "MP4", Video},
}

// MediaLimit returns how large an upload of a kind may be, in bytes; NotFound
// where there is no such kind.
func MediaLimit(k MediaKind) (int64, error) {
	of, ok := kinds[k]
	if !ok {
		return 0, status.New(status.NotFound, "no such path: uploads go to /upload/image, /upload/video, /upload/voice and /upload/file")
	}
	return of.limit, nil
}

// Upload is media that an app uploaded.
type Upload struct {
	ID        string
	App       string
	Kind      MediaKind
	MIME      string // judged by the content
	Name      string // as the app gave it, without a path
	SizeBytes int64
	HeightPx  int64 // of an image
	WidthPx   int64
	CreatedAt time.Time
}

// content is what a message says of the upload.
func (u Upload) content(link string) (MessageType, Content) {
	t := kinds[u.Kind].as
	switch t { //nolint:exhaustive // the others are no uploads
	case Image:
		return t, Content{Image: &ImageData{Link: link, SizeBytes: u.SizeBytes, HeightPx: u.HeightPx, WidthPx: u.WidthPx}}
	case Voice:
		return t, Content{Voice: &VoiceData{Link: link, SizeBytes: u.SizeBytes}}
	case Video:
		return t, Content{Video: &VideoData{Link: link, SizeBytes: u.SizeBytes}}
	default:
		return t, Content{File: &FileData{Link: link, Name: u.Name, SizeBytes: u.SizeBytes}}
	}
}

// MediaStore is the ledger as media needs it.
type MediaStore interface {
	InsertUpload(ctx context.Context, u Upload) error
	// StoredUpload returns an upload that has not gone.
	StoredUpload(ctx context.Context, id string) (u Upload, ok bool, err error)
	// GoneUploads lets uploads from before a moment go that no message carries,
	// and returns some that have gone: their files shall be removed.
	GoneUploads(ctx context.Context, before time.Time, limit int) (ids []string, err error)
	// ForgetUploads removes uploads that have gone.
	ForgetUploads(ctx context.Context, ids []string) error
}

// Media keeps what apps upload: a row in the ledger, and then a file in a
// directory by the same id. The row decides: without one there is nothing, and
// it is the last to be removed.
type Media struct {
	o    MediaOptions
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// MediaOptions of Media.
type MediaOptions struct {
	Store MediaStore
	Dir   string // made when missing
	// Link makes a URL path with an end into an absolute URL that cannot be
	// changed; Access checks it when it comes back.
	Link func(path string, expires time.Time) string
	Now  func() time.Time // default time.Now
	Log  *slog.Logger     // default: discard
}

// NewMedia opens the directory of media.
func NewMedia(o MediaOptions) (*Media, error) {
	if o.Store == nil || o.Dir == "" || o.Link == nil {
		return nil, errors.New("chat: Store, Dir and Link are needed")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	mimetype.SetLimit(sniffed)
	m := &Media{o: o, stop: func() {}}
	if err := os.RemoveAll(m.file(unfinished)); err != nil { // of an earlier process
		return nil, err
	}
	return m, os.MkdirAll(m.file(unfinished), 0o700)
}

// MediaPath is where the media with an id is served.
func MediaPath(id string) string { return "/upload/media/" + id }

func (m *Media) link(id string) string {
	return m.o.Link(MediaPath(id), m.o.Now().Add(linkLife))
}

func (m *Media) file(id string) string { return filepath.Join(m.o.Dir, id) }

// Save keeps what an app uploads: it goes to disk as it comes, and is judged
// there by its content. Errors: TooLarge, Invalid for content of another type.
func (m *Media) Save(ctx context.Context, app string, k MediaKind, name string, content io.Reader) (Upload, error) {
	of := kinds[k]
	u := Upload{ID: uuid.NewString(), App: app, Kind: k, Name: cleanName(name), CreatedAt: m.o.Now()}
	temp, err := os.OpenFile(filepath.Join(m.file(unfinished), u.ID), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return u, err
	}
	defer func() {
		_ = temp.Close()
		_ = os.Remove(temp.Name()) // no longer there when all went well
	}()
	if u.SizeBytes, err = io.Copy(temp, io.LimitReader(content, of.limit+1)); err != nil {
		return u, status.Wrap(status.Invalid, err, "file: it broke off after %d bytes", u.SizeBytes)
	}
	if u.SizeBytes > of.limit {
		return u, status.New(status.TooLarge, "file: more than %d bytes", of.limit)
	}
	if err := u.judge(temp, of); err != nil {
		return u, err
	}
	if err := temp.Sync(); err != nil {
		return u, err
	}
	// The row first: a crash in between leaves a row that goes by itself.
	if err := m.o.Store.InsertUpload(ctx, u); err != nil {
		return u, err
	}
	return u, os.Rename(temp.Name(), m.file(u.ID))
}

// judge finds out what the content is.
func (u *Upload) judge(content io.ReadSeeker, of kind) error {
	rewind := func() error { _, err := content.Seek(0, io.SeekStart); return err }
	if err := rewind(); err != nil {
		return err
	}
	head := make([]byte, min(u.SizeBytes, sniffed))
	if _, err := io.ReadFull(content, head); err != nil {
		return err
	}
	found := mimetype.Detect(head)
	if u.MIME = found.String(); !mimetype.EqualsAny(u.MIME, of.types...) {
		return status.New(status.Invalid, "file: its content is %s, want %s", u.MIME, of.names)
	}
	if of.as != Image {
		return nil
	}
	if err := rewind(); err != nil {
		return err
	}
	size, _, err := image.DecodeConfig(content)
	if err != nil {
		return status.New(status.Invalid, "file: its content begins like %s and cannot be read as such", u.MIME)
	}
	u.HeightPx, u.WidthPx = int64(size.Height), int64(size.Width)
	return nil
}

// cleanName is a file name without a path, without what no name holds, and not
// too long.
func cleanName(name string) string {
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, ""))
	if runes := []rune(name); len(runes) > maxName {
		name = string(runes[len(runes)-maxName:]) // the end has the extension
	}
	return cmp.Or(name, "file")
}

// Open returns the content of an upload; the caller closes it.
func (m *Media) Open(ctx context.Context, id string) (Upload, *os.File, error) {
	unknown := status.New(status.NotFound, "media %q: no such media", id)
	u, ok, err := m.o.Store.StoredUpload(ctx, id)
	if err != nil {
		return u, nil, err
	}
	if !ok {
		return u, nil, unknown
	}
	f, err := os.Open(m.file(id))
	if errors.Is(err, fs.ErrNotExist) {
		err = unknown
	}
	return u, f, err
}

// Start begins to remove media that nobody needs any more.
func (m *Media) Start(ctx context.Context) {
	ctx, m.stop = context.WithCancel(ctx)
	m.wg.Go(func() {
		tick := time.NewTicker(sweepEvery)
		defer tick.Stop()
		for {
			if err := m.sweep(ctx); err != nil && ctx.Err() == nil {
				m.o.Log.WarnContext(ctx, "media that nobody needs was not removed; trying again later", "err", err)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
}

// Stop ends what Start began.
func (m *Media) Stop() { m.stop(); m.wg.Wait() }

// sweep removes media that was erased, or never sent.
func (m *Media) sweep(ctx context.Context) error {
	for {
		ids, err := m.o.Store.GoneUploads(ctx, m.o.Now().Add(-keepUnsent), sweepStep)
		if err != nil || len(ids) == 0 {
			return err
		}
		for _, id := range ids {
			if err := os.Remove(m.file(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("remove media %s: %w", id, err)
			}
		}
		if err := m.o.Store.ForgetUploads(ctx, ids); err != nil {
			return err
		}
	}
}
