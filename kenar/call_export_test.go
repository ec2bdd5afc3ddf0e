package kenar

import (
	"context"
	"io"
)

// Do makes a call that no method makes.
func (c *Client) Do(ctx context.Context, method, path, bearer string, in, out any) error {
	return c.do(ctx, call{method: method, path: path, bearer: bearer, in: in, out: out})
}

// DoFile makes a call with a file where none is meant.
func (c *Client) DoFile(ctx context.Context, path, bearer string, content io.Reader) error {
	file, err := newPart("a.txt", content)
	if err != nil {
		return err
	}
	return c.do(ctx, call{method: "POST", path: path, bearer: bearer, file: file})
}

// What tests of this package look into.
var (
	ErrorOf    = errorOf
	OneLine    = oneLine
	RetryAfter = retryAfter
)

// Waits of retries, for the tests that watch them.
const (
	FirstWait = firstWait
	LastWait  = lastWait
	MaxWait   = maxWait
)
