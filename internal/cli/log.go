package cli

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"sync"
	"time"
)

const (
	logEvery  = 100 * time.Millisecond
	logBuffer = 64 << 10 // bytes
)

// serverLog writes the log of a server. Lines are gathered for a moment: at
// thousands of deliveries a second, a write for each would cost more than the
// line. What is worse than information is written at once, with all before it.
// stop writes what is left.
func serverLog(w io.Writer) (log *slog.Logger, stop func()) {
	g := &gathered{to: w, w: bufio.NewWriterSize(w, logBuffer)}
	done := make(chan struct{})
	var flushing sync.WaitGroup
	flushing.Go(func() {
		tick := time.NewTicker(logEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				g.flush()
			case <-done:
				g.flush()
				return
			}
		}
	})
	return slog.New(prompt{slog.NewTextHandler(g, nil), g}), func() {
		close(done)
		flushing.Wait()
	}
}

// gathered is a buffered writer for many.
type gathered struct {
	mu sync.Mutex
	to io.Writer
	w  *bufio.Writer
}

// Write implements io.Writer.
func (g *gathered) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, err := g.w.Write(b)
	if err != nil {
		g.w.Reset(g.to)
	}
	return n, err
}

func (g *gathered) flush() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.w.Flush() != nil { // there is nowhere to tell; but the next lines shall have their chance
		g.w.Reset(g.to)
	}
}

// prompt is a handler that does not let what is urgent wait.
type prompt struct {
	slog.Handler
	g *gathered
}

// Handle implements slog.Handler.
func (p prompt) Handle(ctx context.Context, r slog.Record) error {
	err := p.Handler.Handle(ctx, r)
	if r.Level > slog.LevelInfo {
		p.g.flush()
	}
	return err
}

// WithAttrs implements slog.Handler.
func (p prompt) WithAttrs(attrs []slog.Attr) slog.Handler {
	return prompt{p.Handler.WithAttrs(attrs), p.g}
}

// WithGroup implements slog.Handler.
func (p prompt) WithGroup(name string) slog.Handler { return prompt{p.Handler.WithGroup(name), p.g} }
