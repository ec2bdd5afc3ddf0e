package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
)

// tailPath is what the panel's page of the live tail follows.
const tailPath = "/panel/live/stream"

// tailRounds is how often each way of feeding is measured: alone and followed in
// turn, so that what else the machine does falls on both.
const tailRounds = 5

// tail feeds in batches as fast as it goes, and at a rate, one event a call; each
// alone, and in just the same way while the panel's live tail is followed.
func (s *stage) tail(ctx context.Context) (Result, error) {
	var total Result
	measure := func(r run) (delivered, cpu, p99 float64, err error) {
		result, err := s.measure(ctx, r)
		result.Lost, result.Repeated = result.Lost+total.Lost, result.Repeated+total.Repeated
		total = result
		return result.Delivered, result.ServerCPU, result.P99, err
	}
	ratios := map[string][]float64{}
	for range tailRounds {
		for _, r := range []run{
			s.inBatches(s.apps, s.Events),
			{apps: s.apps, events: max(1, s.Events/tailRounds), lines: 1, connections: s.Connections, rate: s.Rate},
		} {
			delivered, cpu, p99, err := measure(r)
			if err != nil {
				return Result{}, err
			}
			f, err := s.follow(ctx)
			if err != nil {
				return Result{}, err
			}
			followed, followedCPU, followedP99, err := measure(r)
			if err := errors.Join(err, f.stop()); err != nil {
				return Result{}, err
			}
			if r.rate > 0 {
				ratios["p99"] = append(ratios["p99"], followedP99/p99)
				continue
			}
			ratios["delivered"] = append(ratios["delivered"], followed/delivered)
			ratios["cpu"] = append(ratios["cpu"], followedCPU/cpu)
		}
	}
	total.P99Ratio, total.TailRatio, total.TailCPURatio = median(ratios["p99"]), median(ratios["delivered"]), median(ratios["cpu"])
	return total, nil
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}

// follower reads the live tail.
type follower struct {
	cancel context.CancelFunc
	done   chan struct{} // closed once it reads no more
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
	resp, err := client.Do(req) //nolint:bodyclose // the goroutine below closes it
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
		_, f.err = io.Copy(io.Discard, resp.Body)
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
	return fmt.Errorf("the live tail ended: %w", cmp.Or(f.err, io.EOF))
}
