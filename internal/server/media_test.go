package server_test

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/openkenar/openkenar/internal/server"
)

// form is a multipart form with a file.
func form(t *testing.T, field, name string, content []byte) (body, contentType string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	if err := w.WriteField("before", "something else"); err != nil {
		t.Fatal(err)
	}
	part, err := w.CreateFormFile(field, name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String(), w.FormDataContentType()
}

func (p *platform) uploadToken() string {
	p.t.Helper()
	var out struct{ Token string }
	p.app("POST", "/experimental/open-platform/chat/upload", "", "").ok().into(&out)
	return out.Token
}

func (p *platform) upload(t *testing.T, token, kind, name string, content []byte) answer {
	t.Helper()
	body, contentType := form(t, "file", name, content)
	a := p.do("POST", "/upload/"+kind, body, "Authorization: Bearer "+token, "Content-Type: "+contentType)
	a.t = t
	return a
}

// samples are small files of every type that is taken.
func samples(t *testing.T) map[string][]byte {
	t.Helper()
	picture := image.NewGray(image.Rect(0, 0, 7, 5))
	var asPNG, asJPEG bytes.Buffer
	if err := png.Encode(&asPNG, picture); err != nil {
		t.Fatal(err)
	}
	if err := jpeg.Encode(&asJPEG, picture, nil); err != nil {
		t.Fatal(err)
	}
	office := func(entry string) []byte {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		for _, name := range []string{"[Content_Types].xml", "_rels/.rels", entry} {
			if _, err := w.Create(name); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	ftyp := func(brand string) []byte {
		return append([]byte("\x00\x00\x00\x18ftyp"+brand+"\x00\x00\x00\x00"+brand+brand), make([]byte, 64)...)
	}
	// An OLE file whose directory stands behind what is looked at by its magic.
	ole := func(stream string) []byte {
		const sector = 4000
		b := make([]byte, (sector+2)*512)
		copy(b, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
		binary.LittleEndian.PutUint16(b[0x1e:], 9)
		binary.LittleEndian.PutUint32(b[0x30:], sector)
		for i, c := range []byte(stream) {
			b[(sector+1)*512+128+2*i] = c
		}
		return b
	}
	return map[string][]byte{
		"image/a.png": asPNG.Bytes(), "image/a.jpg": asJPEG.Bytes(), "file/a.pdf": []byte("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"),
		"file/a.docx": office("word/document.xml"), "file/a.xlsx": office("xl/workbook.xml"), "file/a.pptx": office("ppt/presentation.xml"),
		"file/a.doc": ole("WordDocument"), "file/a.xls": ole("Workbook"), "file/a.ppt": ole("PowerPoint Document"),
		"voice/b.m4a": append(ftyp("mp42"), "hdlr\x00\x00\x00\x00\x00\x00\x00\x00soun\x00\x00"...),
		"voice/a.m4a": ftyp("M4A "), "voice/a.3gp": ftyp("3gp4"), "video/a.mp4": ftyp("isom"),
	}
}

// TestMedia: upload, send, open, in both kinds of conversations.
func TestMedia(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.subscribe(p.dev.Users.Seller.AccessToken, `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()
	token := p.uploadToken()
	fields := map[string]string{"image": `"type":"IMAGE"`, "file": `"type":"FILE"`, "voice": `"type":"VOICE"`, "video": `"type":"VIDEO"`}
	for name, content := range samples(t) {
		kind, file, _ := strings.Cut(name, "/")
		var up struct{ ID, Status string }
		p.upload(t, token, kind, "C:\\dir/"+file, content).ok().into(&up)
		if up.Status != "ok" {
			t.Errorf("%s: %+v", name, up)
		}
		p.write(p.dev.Users.Seller.AccessToken, `{"media_token":"`+up.ID+`","type":"TEXT"}`).ok()
		hook := p.one().body
		if !strings.Contains(hook, fields[kind]) || strings.Contains(hook, `"text"`) || kind == "file" && !strings.Contains(hook, `"name":"`+file+`"`) ||
			kind == "image" && !strings.Contains(hook, `"height_px":5,"width_px":7`) || strings.Contains(hook, "thumbnail_link") {
			t.Errorf("%s: the webhook is %s", name, hook)
		}
		link := linkIn(t, hook)
		got := p.do("GET", strings.TrimPrefix(link, p.base), "").ok()
		if got.body != string(content) || got.header.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(got.header.Get("Content-Security-Policy"), "sandbox") ||
			strings.HasPrefix(got.header.Get("Content-Disposition"), "attachment") != (kind == "file") {
			t.Errorf("%s: the link gives %d bytes, %v", name, len(got.body), got.header)
		}
		p.do("GET", strings.TrimPrefix(link, p.base)+"x", "").refused(404, 5, "link")
		p.do("GET", strings.Replace(strings.TrimPrefix(link, p.base), "expires=1", "expires=2", 1), "").refused(404, 5, "link")
		p.app("POST", "/v1/open-platform/chat/bot/conversations/"+p.dev.BotConversationID+"/messages", "", `{"media_token":"`+up.ID+`"}`).ok()
		if m := string(p.last().Message); !strings.Contains(m, fields[kind]) {
			t.Errorf("%s: the bot's message is %s", name, m)
		}
	}
}

func linkIn(t *testing.T, message string) string {
	t.Helper()
	_, rest, _ := strings.Cut(message, `"link":"`)
	link, _, _ := strings.Cut(rest, `"`)
	if _, err := url.Parse(link); err != nil || link == "" {
		t.Fatalf("no link in %s", message)
	}
	return link
}

// TestBadUploads: judged by content and size, and by whose they are.
func TestBadUploads(t *testing.T) {
	t.Parallel()
	p := start(t)
	token, good := p.uploadToken(), samples(t)
	executables := map[string]string{
		"MZ": "MZ\x90\x00\x03" + strings.Repeat("\x00", 300), "ELF": "\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 300), "script": "#!/bin/sh\nrm -rf /\n",
		"HTML": "<!DOCTYPE html><script>alert(1)</script>", "SVG": `<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>`, "empty": "", "zip": "PK\x03\x04" + strings.Repeat("\x00", 99),
	}
	for kind, name := range map[string]string{"image": "a.png", "file": "a.pdf", "voice": "a.m4a", "video": "a.mp4"} {
		for what, content := range executables {
			if a := p.upload(t, token, kind, name, []byte(content)); a.status != 400 || !strings.Contains(a.body, "its content is") {
				t.Errorf("%s as %s: %d %s", what, name, a.status, a.body)
			}
		}
	}
	p.upload(t, token, "image", "a.png", good["image/a.png"][:20]).refused(400, 3, "file")
	p.upload(t, token, "image", "a.png", good["file/a.pdf"]).refused(400, 3, "application/pdf")
	p.upload(t, token, "video", "a.mp4", good["voice/a.m4a"]).refused(400, 3, "want MP4")
	p.upload(t, token, "voice", "a.m4a", good["video/a.mp4"]).refused(400, 3, "M4A")
	for name, limit := range map[string]int{"image/a.png": 5 << 20, "file/a.pdf": 5 << 20, "voice/a.m4a": 3 << 19, "video/a.mp4": 50 << 20} {
		kind, file, _ := strings.Cut(name, "/")
		exact := append(bytes.Clone(good[name]), make([]byte, limit-len(good[name]))...)
		p.upload(t, token, kind, file, exact).ok()
		p.upload(t, token, kind, file, append(exact, 0)).refused(413, 8, "more than")
	}
	p.upload(t, token, "picture", "a.png", good["image/a.png"]).refused(404, 5, "/upload/image")
	p.upload(t, "", "image", "a.png", good["image/a.png"]).refused(401, 16, "chat/upload")
	p.upload(t, p.dev.App.APIKey, "image", "a.png", good["image/a.png"]).refused(401, 16, "unknown")
	p.upload(t, p.dev.Users.Seller.AccessToken, "image", "a.png", good["image/a.png"]).refused(401, 16, "unknown")
	body, contentType := form(t, "other", "a.png", good["image/a.png"])
	p.do("POST", "/upload/image", body, "Authorization: Bearer "+token, "Content-Type: "+contentType).refused(400, 3, "file")
	p.do("POST", "/upload/image", body, "Authorization: Bearer "+token, "Content-Type: multipart/form-data").refused(400, 3, "multipart")
	p.do("POST", "/upload/image", body[:len(body)/2], "Authorization: Bearer "+token, "Content-Type: "+contentType).refused(400, 3)
	p.do("POST", "/upload/image", `{}`, "Authorization: Bearer "+token).refused(415, 3, "multipart/form-data")
	p.host("PATCH", "/apps/sample-app", `{"permissions":["EVENTS_SEND"]}`).ok()
	p.app("POST", "/experimental/open-platform/chat/upload", "", "").refused(403, 7, "CHAT_UPLOAD_MEDIA")
	p.advance("1h")
	p.upload(t, token, "image", "a.png", good["image/a.png"]).refused(401, 16, "expired")
	left, err := os.ReadDir(filepath.Join(p.data, "media", "unfinished"))
	if err != nil || len(left) != 0 {
		t.Errorf("what was refused left %v on disk, %v", left, err)
	}
}

// TestStalledPeers: who stands still in the middle of an upload does not keep
// the server from stopping in order, deliveries included.
func TestStalledPeers(t *testing.T) {
	t.Parallel()
	p := start(t)
	var dialer net.Dialer
	c, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(p.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	body, contentType := form(t, "file", "a.png", make([]byte, 1<<20))
	_, err = io.WriteString(c, "POST /upload/image HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+p.uploadToken()+"\r\nContent-Type: "+contentType+
		"\r\nContent-Length: "+strconv.Itoa(len(body))+"\r\n\r\n"+body[:1<<19])
	if err != nil {
		t.Fatal(err)
	}
	p.sends(`{"message":"hi"}`)
	p.stop() // which fails the test with an error
}

// TestRightToUpload: it is looked at again once the file is there.
func TestRightToUpload(t *testing.T) {
	t.Parallel()
	p := start(t)
	token, picture := p.uploadToken(), samples(t)["image/a.png"]
	body, contentType := form(t, "file", "a.png", picture)
	reader, writer := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.base+"/upload/image", reader)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", contentType)
	go func() {
		_, _ = io.WriteString(writer, body[:len(body)/2])
		p.host("PATCH", "/apps/sample-app", `{"permissions":["EVENTS_SEND"]}`).ok()
		_, _ = io.WriteString(writer, body[len(body)/2:])
		_ = writer.Close()
	}()
	client := &http.Client{}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("an upload whose app has lost the permission meanwhile gives %d", resp.StatusCode)
	}
	p.upload(t, token, "image", "a.png", picture).refused(403, 7, "CHAT_UPLOAD_MEDIA")
}

// TestMediaIsTheAppsOwn: another app's media cannot be sent, and a revoked key
// uploads nothing.
func TestMediaIsTheAppsOwn(t *testing.T) {
	t.Parallel()
	p := start(t)
	picture := samples(t)["image/a.png"]
	p.host("POST", "/apps", `{"slug":"other-app","permissions":["CHAT_UPLOAD_MEDIA"]}`).ok()
	var k struct{ ID, Key string }
	p.host("POST", "/apps/other-app/keys", `{"permissions":["CHAT_UPLOAD_MEDIA"]}`).ok().into(&k)
	var out struct{ Token string }
	p.do("POST", "/experimental/open-platform/chat/upload", "", "X-API-Key: "+k.Key).ok().into(&out)
	var up struct{ ID string }
	p.upload(t, out.Token, "image", "a.png", picture).ok().into(&up)
	p.write(p.dev.Users.Seller.AccessToken, `{"media_token":"`+up.ID+`"}`).refused(400, 3, "media_token")
	p.host("DELETE", "/apps/other-app/keys/"+k.ID, "").ok()
	p.upload(t, out.Token, "image", "a.png", picture).refused(401, 16, "revoked")
}

// TestAbandonedUploads: a server that starts removes what a dead one has left,
// and not what another one on the same directory is taking in.
func TestAbandonedUploads(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.stop()
	old, young := filepath.Join(p.data, "media", "unfinished", "old"), filepath.Join(p.data, "media", "unfinished", "young")
	for file, age := range map[string]time.Duration{old: time.Hour, young: time.Minute} {
		then := time.Now().Add(-age)
		if err := errors.Join(os.WriteFile(file, []byte("half"), 0o600), os.Chtimes(file, then, then)); err != nil {
			t.Fatal(err)
		}
	}
	p.run(&server.DevOptions{})
	for file, want := range map[string]bool{old: false, young: true} {
		if _, err := os.Stat(file); (err == nil) != want {
			t.Errorf("%s: %v", filepath.Base(file), err)
		}
	}
}

// TestMediaGoes: an erased message takes its media along unless another message
// carries it; what was never sent goes after a day.
func TestMediaGoes(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.host("PATCH", "/apps/sample-app", `{"event_url":""}`).ok()
	files := func() int {
		list, err := os.ReadDir(filepath.Join(p.data, "media"))
		if err != nil {
			t.Fatal(err)
		}
		return len(list) - 1 // the directory of unfinished ones
	}
	restart := func() {
		p.stop()
		p.run(&server.DevOptions{})
	}
	var sent, unsent struct{ ID string }
	p.upload(t, p.uploadToken(), "image", "a.png", samples(t)["image/a.png"]).ok().into(&sent)
	p.upload(t, p.uploadToken(), "image", "b.png", samples(t)["image/a.png"]).ok().into(&unsent)
	first := p.sends(`{"media_token":"` + sent.ID + `"}`)
	second := p.sends(`{"media_token":"` + sent.ID + `"}`)
	link := strings.TrimPrefix(linkIn(t, string(p.last().Message)), p.base)
	p.host("DELETE", "/messages/"+first, "").ok()
	p.do("GET", link, "").ok()
	p.advance("23h")
	restart()
	if n := files(); n != 2 {
		t.Errorf("%d files, want 2", n)
	}
	p.advance("1h1m")
	p.host("DELETE", "/messages/"+second, "").ok()
	p.do("GET", link, "").refused(404, 5, "no such media")
	p.stop()
	p.run(&server.DevOptions{})
	p.write(p.dev.Users.Seller.AccessToken, `{"media_token":"`+unsent.ID+`"}`).refused(400, 3, "media_token")
	for range 1000 { // the sweep runs beside the start
		if files() == 0 {
			return
		}
		p.host("GET", "/feed", "").ok()
	}
	t.Errorf("%d files are left", files())
}

// TestLinksExpire: a link works for thirty days; the host API gives a fresh one.
func TestLinksExpire(t *testing.T) {
	t.Parallel()
	p := start(t)
	var up struct{ ID string }
	p.upload(t, p.uploadToken(), "image", "a.png", samples(t)["image/a.png"]).ok().into(&up)
	p.sends(`{"media_token":"` + up.ID + `"}`)
	old := strings.TrimPrefix(linkIn(t, string(p.last().Message)), p.base)
	p.advance("719h")
	p.do("GET", old, "").ok()
	p.advance("2h")
	p.do("GET", old, "").refused(404, 5, "expired")
	p.do("GET", strings.TrimPrefix(linkIn(t, string(p.last().Message)), p.base), "").ok()
}
