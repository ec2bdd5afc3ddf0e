package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// addresses is where a receiver listens.
type addresses struct {
	Control string   `json:"control"`
	Hooks   []string `json:"hooks"` // one for each healthy app
	Dead    []string `json:"dead"`  // one for each way to be dead
}

// hanging is the index in Dead of an app that takes connections and never
// answers.
const hanging = 1

// webhook is one that came in, as a whole.
type webhook struct {
	Header http.Header `json:"header"`
	Body   []byte      `json:"body"`
}

// arrivals is what came in of a run.
type arrivals struct {
	First    []int64 `json:"first"` // of each event, in Unix nanoseconds; 0: never
	Repeated int64   `json:"repeated"`
}

// Receive is the process that plays the apps: apps healthy ones, which answer
// 200 at once and note when each event came first, and dead ones. It writes
// where it listens to a file and ends when in does: with its parent.
func Receive(ctx context.Context, apps int, file string, in io.Reader) (err error) {
	debug.SetGCPercent(400) // it shares the machine with what is measured
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with in, which is closed when the parent ends, or with this process
		defer cancel()
		_, _ = io.Copy(io.Discard, in)
	}()
	r := &receiver{}
	r.recorder.Store(&recorder{})
	var serving sync.WaitGroup
	defer serving.Wait()
	serve := func(h http.Handler) string {
		var listen net.ListenConfig
		l, e := listen.Listen(ctx, "tcp", "127.0.0.1:0")
		if e != nil {
			err = errors.Join(err, e)
			return ""
		}
		server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
		serving.Go(func() { _ = server.Serve(l) })
		context.AfterFunc(ctx, func() { _ = server.Close() })
		return "http://" + l.Addr().String() + "/"
	}
	at := addresses{Control: serve(r.control())}
	for range apps {
		at.Hooks = append(at.Hooks, serve(http.HandlerFunc(r.take)))
	}
	at.Dead = []string{refused(ctx), serve(http.HandlerFunc(hang)), serve(http.HandlerFunc(fail)), serve(http.HandlerFunc(drip))}
	if err == nil {
		err = writeWhole(file, at)
	}
	if err != nil {
		cancel()
		return err
	}
	<-ctx.Done()
	return nil
}

// writeWhole writes a JSON file that appears complete.
func writeWhole(file string, v any) error {
	content, err := json.Marshal(v)
	if err != nil {
		return err
	}
	part := filepath.Join(filepath.Dir(file), "."+filepath.Base(file))
	if err := os.WriteFile(part, content, 0o600); err != nil {
		return err
	}
	return os.Rename(part, file)
}

// receiver plays the healthy apps.
type receiver struct {
	recorder atomic.Pointer[recorder]
	sample   atomic.Pointer[webhook] // the first that came
	buffers  sync.Pool
}

// take is a healthy app. It does as little as it can.
func (r *receiver) take(_ http.ResponseWriter, req *http.Request) {
	b, ok := r.buffers.Get().(*bytes.Buffer)
	if !ok {
		b = &bytes.Buffer{}
	}
	defer r.buffers.Put(b)
	b.Reset()
	if _, err := b.ReadFrom(req.Body); err != nil {
		return
	}
	r.recorder.Load().note(b.Bytes(), time.Now())
	if r.sample.Load() == nil {
		r.sample.Store(&webhook{Header: req.Header.Clone(), Body: bytes.Clone(b.Bytes())})
	}
}

// recorder notes the arrivals of one run.
type recorder struct {
	mark     []byte // the start of its messages' ids, up to the event's number
	first    []atomic.Int64
	arrived  atomic.Int64
	repeated atomic.Int64
}

func (c *recorder) note(body []byte, at time.Time) {
	i := bytes.Index(body, c.mark)
	if i < 0 || len(c.mark) == 0 || len(body) < i+len(c.mark)+digits {
		return // of another run
	}
	number := body[i+len(c.mark):][:digits]
	n, err := strconv.Atoi(string(number))
	switch {
	case err != nil || n < 0 || n >= len(c.first):
	case c.first[n].CompareAndSwap(0, at.UnixNano()):
		c.arrived.Add(1)
	default:
		c.repeated.Add(1)
	}
}

// expectation begins a run.
type expectation struct {
	Mark   string `json:"mark"`
	Events int    `json:"events"`
}

// control is how the parent asks.
func (r *receiver) control() http.Handler {
	answer := func(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }
	mux := http.NewServeMux()
	mux.HandleFunc("POST /expect", func(w http.ResponseWriter, req *http.Request) {
		var e expectation
		if err := json.NewDecoder(req.Body).Decode(&e); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		r.recorder.Store(&recorder{mark: []byte(e.Mark), first: make([]atomic.Int64, e.Events)})
		answer(w, struct{}{})
	})
	mux.HandleFunc("POST /arrived", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, r.recorder.Load().arrived.Load())
	})
	mux.HandleFunc("POST /arrivals", func(w http.ResponseWriter, _ *http.Request) {
		c := r.recorder.Load()
		all := arrivals{First: make([]int64, len(c.first)), Repeated: c.repeated.Load()}
		for i := range c.first {
			all.First[i] = c.first[i].Load()
		}
		answer(w, all)
	})
	mux.HandleFunc("POST /sample", func(w http.ResponseWriter, _ *http.Request) { answer(w, r.sample.Load()) })
	return mux
}

// refused is an address where nobody listens.
func refused(ctx context.Context) string {
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "http://127.0.0.1:1/"
	}
	defer func() { _ = l.Close() }()
	return "http://" + l.Addr().String() + "/"
}

// hang is an app that never answers.
func hang(_ http.ResponseWriter, req *http.Request) {
	_, _ = io.Copy(io.Discard, req.Body)
	<-req.Context().Done()
}

// fail is an app that answers 500.
func fail(w http.ResponseWriter, req *http.Request) {
	_, _ = io.Copy(io.Discard, req.Body)
	w.WriteHeader(http.StatusInternalServerError)
}

// drip is an app that answers at once, and then a byte a second, without end.
func drip(w http.ResponseWriter, req *http.Request) {
	_, _ = io.Copy(io.Discard, req.Body)
	out := http.NewResponseController(w)
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		if _, err := io.WriteString(w, "."); err != nil {
			return
		}
		if err := out.Flush(); err != nil {
			return
		}
		select {
		case <-second.C:
		case <-req.Context().Done():
			return
		}
	}
}
