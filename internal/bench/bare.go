package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// bareTime is how long the bare loop runs at most.
const bareTime = 5 * time.Second

// bareJob is what the bare loop is told.
type bareJob struct {
	URL         string  `json:"url"`
	Webhook     webhook `json:"webhook"`
	Connections int     `json:"connections"`
	Requests    int     `json:"requests"`
}

// Bare is the process that the platform is compared with: it posts one webhook
// again and again, over so many connections, and prints how many a second were
// answered. It reads what to do from in.
func Bare(ctx context.Context, in io.Reader, out io.Writer) error {
	var job bareJob
	if err := json.NewDecoder(in).Decode(&job); err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	client := &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: job.Connections, DisableCompression: true},
		Timeout:   bareTime,
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	begin := time.Now()
	var begun, answered atomic.Int64
	var loops sync.WaitGroup
	for range job.Connections {
		loops.Go(func() {
			for begun.Add(1) <= int64(job.Requests) && time.Since(begin) < bareTime && ctx.Err() == nil {
				if err := job.post(ctx, client); err != nil {
					cancel(err)
					return
				}
				answered.Add(1)
			}
		})
	}
	loops.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(float64(answered.Load()) / time.Since(begin).Seconds())
}

func (j bareJob) post(ctx context.Context, client *http.Client) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, j.URL, bytes.NewReader(j.Webhook.Body))
	if err != nil {
		return err
	}
	req.Header = j.Webhook.Header
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
