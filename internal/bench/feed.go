package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// run is one feeding of events. Their numbers go round the apps, and round the
// conversations of each.
type run struct {
	mark        string // the start of its messages' ids; the stage sets it
	apps        []app
	events      int
	lines       int // events of a request; 1: a call for each
	connections int
	rate        int // events a second; 0: the next when an answer is there
	killAfter   int // accepted events: then the server is killed and started again; 0: never
}

const (
	// digits is how many an event's number has in its message's id, which is as
	// long as a UUID.
	digits = 12
	// callTimeout is how long a call may take, the attempts after a kill
	// included.
	callTimeout = 60 * time.Second
	// callAgain is how long the feeder waits before it calls a killed server
	// again.
	callAgain = 5 * time.Millisecond
)

// fed is what became of a run.
type fed struct {
	starts   []int64 // when the request that accepted each event began, in Unix nanoseconds
	begin    time.Time
	end      time.Time // the last answer
	accepted atomic.Int64
}

// order is a request to make: the events from first on.
type order struct {
	first int
	at    time.Time // when it was to begin; zero: when it does
}

// feed feeds a run to the platform. At a rate, requests begin when it is their
// time, whether earlier ones are answered or not: what waits for a connection
// then is counted as waiting.
func (r run) feed(ctx context.Context, p *platform) (*fed, error) {
	feeding, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	restart := func() error {
		p.kill()
		return p.start(ctx) // it outlives the feeding
	}
	f := &fed{starts: make([]int64, r.events), begin: time.Now()}
	orders := make(chan order, r.events/r.lines+1) // all fit: who paces never waits
	var feeders sync.WaitGroup
	for range r.connections {
		feeders.Go(func() {
			if err := r.work(feeding, p, orders, f, restart); err != nil {
				cancel(err)
			}
		})
	}
	r.pace(feeding, f.begin, orders)
	close(orders)
	feeders.Wait()
	f.end = time.Now()
	return f, context.Cause(feeding)
}

// pace gives out the orders, each at its time.
func (r run) pace(ctx context.Context, begin time.Time, orders chan<- order) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for o := (order{}); o.first < r.events; o.first += r.lines {
		if r.rate > 0 {
			timer.Reset(time.Until(begin.Add(time.Duration(o.first) * time.Second / time.Duration(r.rate))))
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
			o.at = time.Now()
		}
		orders <- o
	}
}

// work makes the requests that are ordered, over one connection.
func (r run) work(ctx context.Context, p *platform, orders <-chan order, f *fed, restart func() error) error {
	c := &conn{address: p.address(), key: p.info.HostKey}
	defer c.close()
	again := time.NewTicker(callAgain)
	defer again.Stop()
	var body []byte
	for o := range orders {
		last := min(o.first+r.lines, r.events)
		if o.at.IsZero() {
			o.at = time.Now()
		}
		for i := o.first; i < last; i++ {
			f.starts[i] = o.at.UnixNano()
		}
		var path, contentType string
		path, contentType, body = r.request(body[:0], o.first, last)
		answer, err := c.post(ctx, path, contentType, body)
		for err != nil && r.killAfter > 0 && time.Since(o.at) < callTimeout && ctx.Err() == nil {
			<-again.C // the server was killed; it answers a repeated call as it did or would have
			answer, err = c.post(ctx, path, contentType, body)
		}
		if err != nil {
			return err
		}
		if r.lines > 1 && !bytes.Contains(answer, []byte(`"errors":[]`)) {
			return fmt.Errorf("the batch was answered with %s", answer)
		}
		n := int64(last - o.first)
		if all := f.accepted.Add(n); all-n < int64(r.killAfter) && all >= int64(r.killAfter) {
			if err := restart(); err != nil {
				return err
			}
		}
	}
	return nil
}

// request makes the request for the events from first to before last.
func (r run) request(b []byte, first, last int) (path, contentType string, body []byte) {
	const message = `"id":"%s%0*d","sender":"BUYER","type":"TEXT","text":"Hello! Is it still there?"}`
	if r.lines == 1 {
		return "/host/v1/conversations/" + r.conversation(first) + "/messages", "application/json",
			fmt.Appendf(b, "{"+message, r.mark, digits, first)
	}
	for i := first; i < last; i++ {
		b = fmt.Appendf(b, `{"message":{"conversation":"%s",`+message+"}\n", r.conversation(i), r.mark, digits, i)
	}
	return "/host/v1/batch", "application/x-ndjson", b
}

func (r run) conversation(event int) string {
	a := r.apps[event%len(r.apps)]
	return a.conversations[event/len(r.apps)%len(a.conversations)]
}

// conn is a connection to the host API. It writes a request with one call and
// has no goroutines: the feeder shares the machine with what it measures.
type conn struct {
	address, key string
	net          net.Conn // nil: to be made
	in           *bufio.Reader
	out          []byte
}

// post makes a call and returns the body of its answer, which must be a 200.
func (c *conn) post(ctx context.Context, path, contentType string, body []byte) (answer []byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	if c.net == nil {
		var dialer net.Dialer
		if c.net, err = dialer.DialContext(ctx, "tcp", c.address); err != nil {
			return nil, err
		}
		c.in = bufio.NewReader(c.net)
	}
	if err := c.net.SetDeadline(time.Now().Add(callTimeout)); err != nil {
		return nil, err
	}
	c.out = fmt.Appendf(c.out[:0], "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n",
		path, c.address, c.key, contentType, len(body))
	c.out = append(c.out, body...)
	if _, err := c.net.Write(c.out); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if answer, err = io.ReadAll(resp.Body); err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s was answered with %d: %s", path, resp.StatusCode, answer)
	}
	return answer, nil
}

func (c *conn) close() {
	if c.net != nil {
		_ = c.net.Close()
		c.net = nil
	}
}
