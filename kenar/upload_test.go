package kenar_test

import (
	"bytes"
	"errors"
	"image"
	"image/png"
	"io"
	"net/http"
	"os"
	"sync"
	"testing"

	"github.com/openkenar/openkenar/kenar"
)

// picture is a PNG.
func picture(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 20, 10))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// atom is a box of an MP4 file.
func atom(kind, content string) string {
	return string([]byte{0, 0, 0, byte(8 + len(content))}) + kind + content //nolint:gosec // contents are short
}

// TestUpload takes media of each kind to a real platform and sends it.
func TestUpload(t *testing.T) {
	t.Parallel()
	p := startPlatform(t)
	client := newClient(t, p)
	seller := client.User(static(p.dev.Users.Seller.AccessToken))
	for kind, tt := range map[kenar.MediaKind]struct {
		name    string
		content []byte
		field   string
	}{
		kenar.UploadImage: {"عکس.png", picture(t), "image_data"},
		kenar.UploadFile:  {`a "b" سند.pdf`, pdf, "file_data"},
		kenar.UploadVoice: {"a.m4a", []byte(atom("ftyp", "M4A \x00\x00\x00\x00M4A mp42") + atom("free", "")), "voice_data"},
		kenar.UploadVideo: {"a.mp4", []byte(atom("ftyp", "mp42\x00\x00\x00\x00mp42isom") + atom("free", "")), "video_data"},
	} {
		t.Run(string(kind), func(t *testing.T) {
			for what, content := range map[string]io.Reader{
				"a file":   bytes.NewReader(tt.content),
				"a stream": io.MultiReader(bytes.NewReader(tt.content)),
			} {
				media, err := client.Upload(t.Context(), kind, tt.name, content)
				if err != nil {
					t.Errorf("%s: %v", what, err)
					continue
				}
				if err := seller.SendMessage(t.Context(), p.dev.ConversationID, kenar.ChatMessage{MediaToken: media}); err != nil {
					t.Errorf("%s: %v", what, err)
					continue
				}
				said := p.said(p.dev.ConversationID)
				data, ok := said[len(said)-1][tt.field].(map[string]any)
				if !ok {
					t.Errorf("%s: the marketplace has %v", what, said[len(said)-1])
					continue
				}
				link, _ := data["link"].(string)
				if status, got := p.call(http.MethodGet, link, ""); status != http.StatusOK || !bytes.Equal(got, tt.content) {
					t.Errorf("%s: behind the link are %d bytes (%d), want %d", what, len(got), status, len(tt.content))
				}
				if kind == kenar.UploadFile && data["name"] != tt.name {
					t.Errorf("%s: named %v", what, data["name"])
				}
			}
		})
	}
	if _, err := client.Upload(t.Context(), kenar.UploadImage, "x", nil); err == nil {
		t.Error("nothing to upload: accepted")
	}
}

// TestUploadOfAPipe: a file that cannot be sought is a stream.
func TestUploadOfAPipe(t *testing.T) {
	t.Parallel()
	p := startPlatform(t)
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var writing sync.WaitGroup
	writing.Go(func() {
		defer func() { _ = in.Close() }()
		if _, err := in.Write(pdf); err != nil {
			t.Error(err)
		}
	})
	if media, err := newClient(t, p).Upload(t.Context(), kenar.UploadFile, "a.pdf", out); err != nil || media == "" {
		t.Errorf("got %q, %v", media, err)
	}
	writing.Wait()
	if err := out.Close(); err != nil { // it was not closed before
		t.Error(err)
	}
	no := newClient(t, p, func(o *kenar.Options) { o.APIKey = "okk_unknown" })
	if _, err := no.Upload(t.Context(), kenar.UploadFile, "a.pdf", bytes.NewReader(pdf)); !errors.Is(err, kenar.ErrUnauthenticated) {
		t.Errorf("without a token: %v", err)
	}
}

// TestReleasedContent: once Upload has returned, its caller may do with the
// content what it likes, whatever net/http still does.
func TestReleasedContent(t *testing.T) {
	t.Parallel()
	c := onPipe(t, func(o *kenar.Options) { o.Retries = -1 }, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/upload/file" {
			// An answer while the body is still coming.
			_, _ = io.CopyN(io.Discard, r.Body, 10)
			w.WriteHeader(http.StatusForbidden)
			_ = http.NewResponseController(w).Flush()
			_, _ = io.Copy(io.Discard, r.Body)
			return
		}
		_, _ = w.Write([]byte(`{"token":"an-upload-token"}`))
	})
	for range 20 {
		content := &counted{n: 10 << 20}
		if _, err := c.Upload(t.Context(), kenar.UploadFile, "x", content); err == nil {
			t.Fatal("accepted")
		}
		content.n = 0 // the race detector looks on
	}
}

// counted is a stream of n bytes.
type counted struct{ n int }

func (c *counted) Read(b []byte) (int, error) {
	if c.n <= 0 {
		return 0, io.EOF
	}
	n := min(len(b), c.n)
	c.n -= n
	return n, nil
}
