package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/openkenar/openkenar/internal/server"
	"github.com/openkenar/openkenar/internal/status"
)

// hostFlags are the flags of every command that calls the host API of a
// running server.
type hostFlags struct {
	Server      serverURL `config:"" default:"http://127.0.0.1:7700" help:"The running server." placeholder:"URL"`
	HostKeyFile string    `config:"" help:"File with the host key. Default: OPENKENAR_HOST_KEY, else DATA/host.key." placeholder:"FILE"`
	Data        string    `config:"" default:".openkenar" help:"Data directory, for its host key." type:"path" placeholder:"DIR"`
	JSON        bool      `name:"json" help:"Print the server's answer, as JSON."`
}

// What commands take that are not told.
const (
	defaultServer = "http://127.0.0.1:7700"
	defaultData   = ".openkenar"
)

// serverURL is where a server is called, without a slash at its end.
type serverURL string

// UnmarshalText takes an absolute http or https URL.
func (s *serverURL) UnmarshalText(text []byte) error {
	u, err := url.Parse(string(text))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("not the URL of a server; write http://HOST:PORT")
	}
	*s = serverURL(strings.TrimRight(string(text), "/"))
	return nil
}

// hostCall is a call of the host API and what becomes of its answer.
type hostCall struct {
	method string
	path   string        // by hostPath
	query  url.Values    // may be nil
	in     any           // the body; nil: none
	out    any           // takes the answer; nil: nothing does
	show   func() string // the answer for people, once out holds it
}

// hostPath is a path of the host API; its segments are escaped.
func hostPath(segments ...string) string {
	escaped := make([]string, len(segments))
	for i, s := range segments {
		escaped[i] = url.PathEscape(s)
	}
	return "/host/v1/" + strings.Join(escaped, "/")
}

// page is the query for what comes after a cursor; "" for the first page.
func page(after string) url.Values {
	if after == "" {
		return nil
	}
	return url.Values{"after": {after}}
}

// call makes a call of the host API and prints the answer: the server's JSON
// with --json, else as the call shows it.
func (f hostFlags) call(ctx context.Context, c *call, h hostCall) error {
	key, err := f.hostKey(c)
	if err != nil {
		return err
	}
	answer, err := f.send(ctx, key, h)
	if err != nil {
		return err
	}
	var indented bytes.Buffer
	err = json.Indent(&indented, answer, "", "  ")
	if err == nil && h.out != nil {
		err = json.Unmarshal(answer, h.out)
	}
	if err != nil {
		return fmt.Errorf("the answer is not that of the host API: %w; does --server name an OpenKenar server?", err)
	}
	text := indented.String() + "\n"
	if !f.JSON {
		text = h.show()
	}
	_, err = io.WriteString(c.Out, text)
	return err
}

// hostKey is the key to call with. Of several the first.
func (f hostFlags) hostKey(c *call) (string, error) {
	keys := hostKeys(c, f.HostKeyFile)
	if len(keys) == 0 {
		text, err := os.ReadFile(cmp.Or(f.HostKeyFile, filepath.Join(f.Data, "host.key")))
		if err != nil {
			return "", fmt.Errorf("no host key: set OPENKENAR_HOST_KEY, --host-key-file or --data: %w", err)
		}
		keys = server.SplitKeys(string(text))
	}
	if len(keys) == 0 {
		return "", errors.New("no host key: the file is empty")
	}
	return keys[0], nil
}

const (
	callTimeout  = 60 * time.Second // of one call
	readyTimeout = 3 * time.Second
	maxAnswer    = 64 << 20 // bytes
)

// send makes a call and returns the body of its answer; an answer other than
// 200 is an error with the server's message.
func (f hostFlags) send(ctx context.Context, key string, h hostCall) (answer []byte, err error) {
	var body []byte
	if h.in != nil {
		if body, err = json.Marshal(h.in); err != nil {
			return nil, err
		}
	}
	target := string(f.Server) + h.path
	if len(h.query) > 0 {
		target += "?" + h.query.Encode()
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, h.method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	if h.in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	client := &http.Client{ // a redirect would make another call of this one, and show the key to others
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("the server has not answered: %w", ctx.Err())
		}
		return nil, fmt.Errorf("call the server: %w; is it running? --server names it", err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read the server's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		var s status.Status
		if err := json.Unmarshal(answer, &s); err != nil || s.Message == "" {
			return nil, fmt.Errorf("the server answered %d; does --server name an OpenKenar server?", resp.StatusCode)
		}
		return nil, errors.New(plain(s.Message))
	}
	return answer, nil
}

type readyCmd struct {
	Server serverURL `config:"" default:"http://127.0.0.1:7700" help:"The server." placeholder:"URL"`
}

// Help says who asks.
func (readyCmd) Help() string {
	return "For health checks of containers that hold nothing but the program. A load balancer asks for /readyz itself."
}

// Run fails unless the server takes calls.
func (r readyCmd) Run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	_, err := hostFlags{Server: r.Server}.send(ctx, "", hostCall{method: http.MethodGet, path: "/readyz"})
	return err
}

// once shows a secret that is not shown again. It is alone on the standard
// output, so that a shell can take it; what it is is said beside that.
func (c *call) once(secret, what string) string {
	_, _ = fmt.Fprintln(c.Err, plain(what)+"; it is not shown again")
	return plain(secret) + "\n"
}
