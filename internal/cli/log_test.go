package cli

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// fullOnce is a log on a disk that is full for a moment.
type fullOnce struct {
	failed bool
	bytes.Buffer
}

// Write implements io.Writer.
func (f *fullOnce) Write(b []byte) (int, error) {
	if !f.failed {
		f.failed = true
		return 0, errors.New("no space left on device")
	}
	return f.Buffer.Write(b)
}

// TestLogGoesOn: one write that fails does not silence the log.
func TestLogGoesOn(t *testing.T) {
	t.Parallel()
	w := &fullOnce{}
	log, stop := serverLog(w)
	log.Error("lost")
	log.Error("there is room again")
	log.Info("gathered, and written at the end")
	stop()
	if got := w.String(); !strings.Contains(got, "room again") || !strings.Contains(got, "at the end") || strings.Contains(got, "lost") {
		t.Errorf("the log has %q", got)
	}
}
