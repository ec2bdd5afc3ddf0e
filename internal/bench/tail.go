package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
)

// tailPath is what the panel's page of the live tail follows.
const tailPath = "/panel/live/stream"

// tail feeds at a rate, one event a call, and then in batches as fast as it
// goes; both alone, and in just the same way while the panel's live tail is
// followed.
func (s *stage) tail(ctx context.Context) (Result, error) {
	paced := run{apps: s.apps, events: s.Events, lines: 1, connections: s.Connections, rate: s.Rate}
	full := s.inBatches(s.apps, 5*s.Events)
	var alone, followed [2]Result
	for i, r := range []run{paced, full} {
		var err error
		if alone[i], err = s.measure(ctx, r); err != nil {
			return Result{}, err
		}
	}
	f, err := s.follow(ctx)
	if err != nil {
		return Result{}, err
	}
	for i, r := range []run{paced, full} {
		if followed[i], err = s.measure(ctx, r); err != nil {
			return Result{}, errors.Join(err, f.stop())
		}
	}
	if err := f.stop(); err != nil {
		return Result{}, err
	}
	result := followed[0]
	for _, r := range []Result{alone[0], alone[1], followed[1]} {
		result.Lost, result.Repeated = result.Lost+r.Lost, result.Repeated+r.Repeated
	}
	result.P99Ratio = followed[0].P99 / alone[0].P99
	result.TailRatio = followed[1].Delivered / alone[1].Delivered
	result.TailCPURatio = followed[1].ServerCPU / alone[1].ServerCPU
	result.TailRows = f.rows
	return result, nil
}

// follower reads the live tail.
type follower struct {
	cancel context.CancelFunc
	done   chan struct{} // closed once it reads no more
	rows   int64         // events of the stream that it has read
	err    error
}

// follow begins to read the live tail; stop ends that.
func (s *stage) follow(ctx context.Context) (*follower, error) {
	ctx, cancel := context.WithCancel(ctx)
	f := &follower{cancel: cancel, done: make(chan struct{})}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.platform.info.BaseURL+tailPath, nil)
	if err != nil {
		cancel()
		return nil, err
	}
	req.Header.Set("Accept", "text/event-stream")
	client := &http.Client{}
	resp, err := client.Do(req) //nolint:bodyclose // the reader below closes it
	if err != nil {
		cancel()
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		cancel()
		_ = resp.Body.Close()
		return nil, fmt.Errorf("%s was answered with %s", tailPath, resp.Status)
	}
	go func() { // ends with its context, which stop cancels
		defer close(f.done)
		defer func() { _ = resp.Body.Close() }()
		lines := bufio.NewReader(resp.Body)
		for {
			line, err := lines.ReadSlice('\n')
			if bytes.HasPrefix(line, []byte("data:")) {
				f.rows++
			}
			if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
				f.err = err
				return
			}
		}
	}()
	return f, nil
}

// stop ends reading. That the stream ended before is an error.
func (f *follower) stop() error {
	f.cancel()
	<-f.done
	if errors.Is(f.err, context.Canceled) {
		return nil
	}
	return fmt.Errorf("the live tail ended: %w", f.err)
}
