package kenar

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"sync"
	"time"
)

// MediaKind is what a file is sent as.
type MediaKind string

// The kinds, with what OpenKenar takes. It judges by content, not by name.
const (
	UploadImage MediaKind = "image" // PNG or JPEG of at most 5 MB
	UploadFile  MediaKind = "file"  // PDF, DOC(X), XLS(X) or PPT(X) of at most 5 MB
	UploadVoice MediaKind = "voice" // M4A or 3GP of at most 1.5 MB
	UploadVideo MediaKind = "video" // MP4 of at most 50 MB
)

// uploadTimeout bounds an attempt of an upload.
const uploadTimeout = 10 * time.Minute

// Upload takes a file to the platform and returns its media token, for BotMessage
// or ChatMessage. It makes both calls that this takes. The content is read as it
// goes, and not closed; one that is an io.Seeker can be sent again from where it
// stood, any other only while nothing of it was read. Permission
// CHAT_UPLOAD_MEDIA. Errors: ErrTooLarge, ErrInvalid or ErrUnsupported for what
// is not of its kind.
func (c *Client) Upload(ctx context.Context, kind MediaKind, name string, content io.Reader) (mediaToken string, err error) {
	path, err := withID("/upload/{}", "kind", string(kind))
	if err != nil {
		return "", err
	}
	file, err := newPart(name, content)
	if err != nil {
		return "", err
	}
	var first struct {
		Token string `json:"token"`
	}
	if err := c.do(ctx, call{method: http.MethodPost, path: "/experimental/open-platform/chat/upload", out: &first, harmless: true}); err != nil {
		return "", err
	}
	// A repeat leaves a file that no message carries; the platform lets those go.
	var second struct {
		ID string `json:"id"`
	}
	err = c.do(ctx, call{
		method: http.MethodPost, path: path, file: file, bearer: first.Token, out: &second, harmless: true, timeout: max(uploadTimeout, c.timeout),
	})
	return second.ID, err
}

// part is a multipart form with one file, sent as its content is read.
type part struct {
	contentType  string
	before, tail []byte
	content      io.Reader
	start        int64 // where the content stood; -1: it cannot be told
	size         int64 // of the content; -1: not known

	mu   sync.Mutex
	body *partBody // of the attempt under way
	read bool      // something of the content
}

func newPart(name string, content io.Reader) (*part, error) {
	if content == nil {
		return nil, invalid("content", "must not be nil")
	}
	p := &part{content: content, start: -1, size: -1}
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	if _, err := w.CreateFormFile("file", name); err != nil {
		return nil, fmt.Errorf("kenar: upload: %w", err)
	}
	p.before = bytes.Clone(form.Bytes())
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("kenar: upload: %w", err)
	}
	p.tail, p.contentType = form.Bytes()[len(p.before):], w.FormDataContentType()
	if s, ok := content.(io.Seeker); ok {
		p.measure(s)
	}
	return p, nil
}

// measure finds out where the content begins and ends. What cannot be sought,
// as a pipe that is an *os.File, is sent without its size.
func (p *part) measure(s io.Seeker) {
	start, err := s.Seek(0, io.SeekCurrent)
	if err != nil {
		return
	}
	end, err := s.Seek(0, io.SeekEnd)
	if err != nil {
		return
	}
	if _, err := s.Seek(start, io.SeekStart); err == nil && end >= start {
		p.start, p.size = start, end-start
	}
}

// attach makes the part the body of a request.
func (p *part) attach(r *http.Request) {
	p.mu.Lock()
	p.body = &partBody{of: p, all: io.MultiReader(bytes.NewReader(p.before), partContent{p}, bytes.NewReader(p.tail))}
	r.Body, r.ContentLength = p.body, -1
	p.mu.Unlock()
	if p.size >= 0 {
		r.ContentLength = int64(len(p.before)) + p.size + int64(len(p.tail))
	}
	r.Header.Set("Content-Type", p.contentType)
	// So that a refusal comes before the body, and is not lost in it.
	r.Header.Set("Expect", "100-continue")
}

// release waits until the content is not being read, and will not be: net/http
// may go on with a body after it has returned the answer.
func (p *part) release() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.body = nil
}

// rewind makes the part ready to be sent again, if it can be.
func (p *part) rewind() bool {
	if p == nil || !p.read {
		return true
	}
	s, ok := p.content.(io.Seeker)
	if !ok || p.start < 0 {
		return false
	}
	_, err := s.Seek(p.start, io.SeekStart)
	return err == nil
}

// partBody is the body of one attempt.
type partBody struct {
	of  *part
	all io.Reader
}

// Read implements io.Reader.
func (b *partBody) Read(into []byte) (int, error) {
	b.of.mu.Lock()
	defer b.of.mu.Unlock()
	if b.of.body != b {
		return 0, http.ErrBodyReadAfterClose
	}
	return b.all.Read(into)
}

// Close implements io.Closer. The content is its owner's to close.
func (*partBody) Close() error { return nil }

// partContent notes that the content was read.
type partContent struct{ of *part }

// Read implements io.Reader. The caller holds the lock.
func (c partContent) Read(into []byte) (int, error) {
	c.of.read = true
	return c.of.content.Read(into)
}
