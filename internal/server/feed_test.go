package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestFeedPages: nothing skipped, nothing twice, in order.
func TestFeedPages(t *testing.T) {
	t.Parallel()
	p := start(t)
	if a := p.host("GET", "/feed", "").ok(); a.body != `{"items":[],"next":null}` {
		t.Errorf("an empty feed is %s", a.body)
	}
	const n = 230
	for i := range n {
		p.write(p.dev.Users.Seller.AccessToken, fmt.Sprintf(`{"message":"m%d"}`, i)).ok()
	}
	cursor, seen := "", 0
	for _, want := range []int{100, 100, 30, 0} {
		items, next := p.feed(cursor)
		for _, i := range items {
			if !strings.Contains(string(i.Message), fmt.Sprintf(`"text":"m%d"`, seen)) {
				t.Errorf("item %d is %s", seen, i.Message)
			}
			seen++
		}
		if len(items) != want || next == "" || want == 0 && next != cursor {
			t.Errorf("after %s: %d items, next %s", cursor, len(items), next)
		}
		cursor = next
	}
	for _, query := range []string{"after=x", "after=-1", "after=1.5", "wait=x", "wait=-1", "wait=61", "after=99999999999999999999"} {
		p.host("GET", "/feed?"+query, "").refused(400, 3, strings.Split(query, "=")[0])
	}
	p.do("GET", "/host/v1/feed", "").refused(401, 16, "host key")
	p.host("POST", "/feed", "").refused(405, 12, "GET")
}

// TestFeedWaits: a call that waits is answered by the next item, or with
// nothing.
func TestFeedWaits(t *testing.T) {
	t.Parallel()
	p := start(t)
	got := make(chan answer)
	go func() { got <- p.host("GET", "/feed?wait=60", "") }()
	select {
	case a := <-got:
		t.Fatalf("answered before anything happened: %s", a.body)
	case <-time.After(100 * time.Millisecond): // failing to fail is all that a slow machine can do here
	}
	p.sends(`{"message":"the first"}`)
	a := <-got
	var out struct {
		Items []item
		Next  string
	}
	a.ok().into(&out)
	if len(out.Items) != 1 || out.Next != "1" {
		t.Errorf("the answer is %s", a.body)
	}
	if a := p.host("GET", "/feed?wait=1&after=1", "").ok(); a.body != `{"items":[],"next":"1"}` {
		t.Errorf("after a second without news: %s", a.body)
	}
}

// follow opens the feed as server-sent events.
func (p *platform) follow(path string, header ...string) io.Reader {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 30*time.Second)
	p.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.base+"/host/v1"+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.dev.HostKey)
	req.Header.Set("Accept", "text/event-stream")
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	client := &http.Client{}
	resp, err := client.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = resp.Body.Close() })
	if ct := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || ct != "text/event-stream" {
		p.t.Fatalf("%d %s", resp.StatusCode, ct)
	}
	return resp.Body
}

// stream reads n items of the feed, or all until the stream ends.
func (p *platform) stream(feed io.Reader, n int) (cursors []string) {
	p.t.Helper()
	id := ""
	lines := bufio.NewScanner(feed)
	for len(cursors) < n && lines.Scan() {
		line := lines.Text()
		if text, ok := strings.CutPrefix(line, "id: "); ok {
			id = text
		}
		if text, ok := strings.CutPrefix(line, "data: "); ok {
			var i item
			if err := json.Unmarshal([]byte(text), &i); err != nil || i.Cursor != id {
				p.t.Errorf("%v: id %s, data %s", err, id, text)
			}
			cursors = append(cursors, id)
		}
	}
	return cursors
}

// TestFeedStream: server-sent events, from a cursor and as a browser resumes;
// a stream does not keep the server from stopping.
func TestFeedStream(t *testing.T) {
	t.Parallel()
	p := start(t)
	live := p.follow("/feed")
	var want []string
	for i := range 5 {
		p.sends(fmt.Sprintf(`{"message":"m%d"}`, i))
		want = append(want, strconv.Itoa(i+1))
	}
	if cursors := p.stream(live, 5); !slices.Equal(cursors, want) {
		t.Errorf("the stream has %q", cursors)
	}
	if cursors := p.stream(p.follow("/feed?after=3"), 2); !slices.Equal(cursors, want[3:]) {
		t.Errorf("from a cursor the stream has %q", cursors)
	}
	resumed := p.follow("/feed?after=1", "Last-Event-ID: 4")
	begin := time.Now()
	p.stop()
	if took := time.Since(begin); took > 9*time.Second {
		t.Errorf("the server took %s to stop", took)
	}
	if cursors := p.stream(resumed, 100); !slices.Equal(cursors, want[4:]) {
		t.Errorf("resumed, the stream has %q", cursors)
	}
}
