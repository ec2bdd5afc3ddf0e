package chat

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
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

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/status"
)

const (
	// keepUnsent is how long media waits for a message that carries it.
	keepUnsent = 24 * time.Hour
	// linkLife is how long a link to media works: longer than a webhook usually
	// waits to be sent. The host API gives a fresh one each time.
	linkLife = 30 * 24 * time.Hour
	// maxUnsent is how much of one app may wait to be sent, in bytes: the disk is
	// everybody's.
	maxUnsent = 512 << 20
	// maxUploads is how many uploads of one app may be under way.
	maxUploads = 8
	// sniffed is how much of a file decides what it is, in bytes.
	sniffed    = 1 << 20
	sweepEvery = 10 * time.Minute // for media that nobody needs
	sweepStep  = 500              // uploads
	abandoned  = 10 * time.Minute // after an upload was last written to: a call is read within a minute
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

// MediaKinds are the kinds of uploads.
func MediaKinds() []string { return []string{"image", "video", "voice", "file"} }

// MediaWords says what each kind takes.
func MediaWords() string {
	var words []string
	for _, name := range MediaKinds() {
		k := kinds[MediaKind(name)]
		words = append(words, fmt.Sprintf("%s: %s, at most %g MiB", name, k.names, float64(k.limit)/(1<<20)))
	}
	return strings.Join(words, ". ") + "."
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
	// UnsentBytes returns the size of an app's uploads that no message carries.
	UnsentBytes(ctx context.Context, app string) (int64, error)
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
	o       MediaOptions
	uploads *access.Share // under way
	stop    context.CancelFunc
	wg      sync.WaitGroup
}

// MediaOptions of Media.
type MediaOptions struct {
	Store MediaStore
	Dir   string // made when missing
	// Link makes of a path and an end an absolute URL that cannot be changed.
	Link func(path string, expires time.Time) string
	// SyncDir makes sure that a directory's entries are on disk.
	SyncDir func(dir string) error
	Now     func() time.Time // default time.Now
	Log     *slog.Logger     // default: discard
}

// NewMedia opens the directory of media.
func NewMedia(o MediaOptions) (*Media, error) {
	if o.Store == nil || o.Dir == "" || o.Link == nil || o.SyncDir == nil {
		return nil, errors.New("chat: Store, Dir, Link and SyncDir are needed")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	mimetype.SetLimit(sniffed) // of the whole process; nobody else asks
	m := &Media{o: o, stop: func() {}, uploads: access.NewShare(maxUploads)}
	if err := os.MkdirAll(m.file(unfinished), 0o700); err != nil {
		return nil, err
	}
	return m, m.clear()
}

// clear removes the uploads that a process has left when it ended. Younger ones
// may be under way on another node, in the same directory.
func (m *Media) clear() error {
	entries, err := os.ReadDir(m.file(unfinished))
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && time.Since(info.ModTime()) > abandoned {
			err = os.Remove(filepath.Join(m.file(unfinished), e.Name()))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// MediaPath is where the media with an id is served.
func MediaPath(id string) string { return "/upload/media/" + id }

func (m *Media) link(id string) string {
	return m.o.Link(MediaPath(id), m.o.Now().Add(linkLife))
}

func (m *Media) file(id string) string { return filepath.Join(m.o.Dir, id) }

// Receipt is an upload as it comes.
type Receipt struct {
	App     string
	Kind    MediaKind
	Name    string
	Content io.Reader
	// Still is asked once all has come: an upload takes its time, and the right
	// to it may have been taken away.
	Still func() error
}

// Save keeps what an app uploads: it goes to disk as it comes, and is judged
// there by its content. Errors: TooLarge, Invalid for content of another type,
// ResourceExhausted where the app has too much that it does not send.
func (m *Media) Save(ctx context.Context, r Receipt) (_ Upload, err error) {
	leave, err := m.enter(ctx, r.App)
	if err != nil {
		return Upload{}, err
	}
	defer leave()
	of := kinds[r.Kind]
	u := Upload{ID: uuid.NewString(), App: r.App, Kind: r.Kind, Name: cleanName(r.Name), CreatedAt: m.o.Now()}
	temp, err := os.OpenFile(filepath.Join(m.file(unfinished), u.ID), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return u, err
	}
	defer func() {
		_ = temp.Close()
		_ = os.Remove(temp.Name()) // no longer there when all went well
	}()
	from := &source{Reader: io.LimitReader(r.Content, of.limit+1)}
	if u.SizeBytes, err = io.Copy(temp, from); from.err != nil {
		return u, status.Wrap(status.Invalid, from.err, "file: it broke off after %d bytes", u.SizeBytes)
	} else if err != nil {
		return u, err
	}
	if u.SizeBytes > of.limit {
		return u, status.New(status.TooLarge, "file: more than %d bytes", of.limit)
	}
	if err := u.judge(temp, of); err != nil {
		return u, err
	}
	if err := errors.Join(temp.Sync(), r.Still()); err != nil {
		return u, err
	}
	// The row first: a crash in between leaves a row that goes by itself.
	if err := m.o.Store.InsertUpload(ctx, u); err != nil {
		return u, err
	}
	if err := os.Rename(temp.Name(), m.file(u.ID)); err != nil {
		return u, err
	}
	return u, m.o.SyncDir(m.o.Dir)
}

// source is a reader that tells its own errors from those of the writer.
type source struct {
	io.Reader
	err error
}

// Read implements io.Reader.
func (s *source) Read(b []byte) (int, error) {
	n, err := s.Reader.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// enter lets an app upload something if it has not its share already.
func (m *Media) enter(ctx context.Context, app string) (leave func(), err error) {
	unsent, err := m.o.Store.UnsentBytes(ctx, app)
	if err != nil {
		return nil, err
	}
	if unsent >= maxUnsent {
		return nil, status.Later(time.Hour, "%d bytes of the app's uploads wait to be sent, want at most %d; send them, or let them go after %d hours",
			unsent, maxUnsent, keepUnsent/time.Hour)
	}
	leave, ok := m.uploads.Enter(app)
	if !ok {
		return nil, status.Later(time.Second, "%d uploads of the app are under way already", maxUploads)
	}
	return leave, nil
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
	switch u.MIME = found.String(); {
	case found.Is("application/x-ole-storage"):
		u.MIME = cmp.Or(oleType(content, head), u.MIME)
	case found.Is("video/mp4") && of.as == Voice && onlySound(content):
		u.MIME = "audio/mp4" // many recorders call it so
	}
	if !mimetype.EqualsAny(u.MIME, of.types...) {
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

// oleType finds out what kind of document an OLE file is (MS-CFB, 2.2 and
// 2.6), whose directory may stand anywhere in it.
func oleType(content io.ReadSeeker, head []byte) string {
	const smallest, directory = 512, 4096
	if len(head) < smallest {
		return ""
	}
	shift := binary.LittleEndian.Uint16(head[0x1e:])
	sector := int64(binary.LittleEndian.Uint32(head[0x30:]))
	if shift != 9 && shift != 12 {
		return ""
	}
	if _, err := content.Seek((sector+1)<<shift, io.SeekStart); err != nil {
		return ""
	}
	entries, err := io.ReadAll(io.LimitReader(content, directory))
	if err != nil {
		return ""
	}
	for name, mime := range map[string]string{
		"WordDocument": "application/msword", "Workbook": "application/vnd.ms-excel", "PowerPoint Document": "application/vnd.ms-powerpoint",
	} {
		if bytes.Contains(entries, utf16Of(name)) {
			return mime
		}
	}
	return ""
}

// utf16Of is ASCII text as OLE writes it.
func utf16Of(text string) []byte {
	var b []byte
	for i := range len(text) {
		b = append(b, text[i], 0)
	}
	return b
}

// onlySound says whether an MP4 has a track of sound and none of pictures (ISO
// 14496-12, 8.4.3). A voice is small enough to be read whole.
func onlySound(content io.ReadSeeker) bool {
	if _, err := content.Seek(0, io.SeekStart); err != nil {
		return false
	}
	b, err := io.ReadAll(content)
	if err != nil {
		return false
	}
	sound := false
	for {
		_, rest, found := bytes.Cut(b, []byte("hdlr"))
		if !found || len(rest) < 12 {
			return sound
		}
		switch string(rest[8:12]) {
		case "vide":
			return false
		case "soun":
			sound = true
		}
		b = rest
	}
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
		var removed []string
		for _, id := range ids {
			if e := os.Remove(m.file(id)); e != nil && !errors.Is(e, fs.ErrNotExist) {
				err = errors.Join(err, e)
				continue
			}
			removed = append(removed, id)
		}
		if err := errors.Join(err, m.o.Store.ForgetUploads(ctx, removed)); err != nil {
			return fmt.Errorf("remove media: %w", err)
		}
	}
}
