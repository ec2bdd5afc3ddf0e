package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openkenar/openkenar/internal/server"
)

const (
	look    = 2 * time.Millisecond // how often a file is looked for
	patient = 60 * time.Second     // how long a process may take to be ready
)

// program is this program with another command, to be run as a process. It
// ends with ctx at the latest.
func program(ctx context.Context, args ...string) (*exec.Cmd, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // this very program
	cmd.Env = slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "OPENKENAR_") })
	return cmd, nil
}

// process is a started program.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed once it has ended
	err  error         // how, then
}

func start(cmd *exec.Cmd) (*process, error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() { // ends with the process; kill waits for it
		defer close(p.done)
		p.err = cmd.Wait()
	}()
	return p, nil
}

// ready waits for the JSON file that a process writes once it is ready.
func (p *process) ready(ctx context.Context, file string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		content, err := os.ReadFile(file) //nolint:gosec // a file of the run's own directory
		switch {
		case err == nil:
			return json.Unmarshal(content, into)
		case !errors.Is(err, os.ErrNotExist):
			return err
		}
		select {
		case <-tick.C:
		case <-p.done:
			return fmt.Errorf("%s ended before it was ready: %w", p.cmd.Args[1], cmp.Or(p.err, errors.New("exit code 0")))
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w", p.cmd.Args[1], ctx.Err())
		}
	}
}

// kill ends a process at once and waits for its end.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// platform is the server under test, over its restarts.
type platform struct {
	*process
	dir      string
	database string // of its ledger; "" for dir
	info     server.DevInfo
	started  time.Time // the last process
	past     usage     // of the processes before it
}

// start starts the server, at its former address if it had one, and returns
// when it is ready.
func (p *platform) start(ctx context.Context) error {
	file := filepath.Join(p.dir, "dev.json")
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	address := "127.0.0.1:0"
	if p.info.BaseURL != "" {
		address = p.address()
	}
	cmd, err := program(ctx, "dev", "--data", p.dir, "--listen", address)
	if err != nil {
		return err
	}
	if p.database != "" {
		cmd.Env = append(cmd.Env, "OPENKENAR_DATABASE="+p.database)
	}
	log, err := os.OpenFile(p.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the process has its own handle
	cmd.Stderr = log
	p.started = time.Now()
	if p.process, err = start(cmd); err != nil {
		return err
	}
	var info server.DevInfo
	if err := p.ready(ctx, file, &info); err != nil {
		return fmt.Errorf("%w; see %s", err, p.log())
	}
	if p.info.BaseURL == "" {
		p.info = info // feeders read it; it does not change
	}
	return nil
}

// log is the file that the server logs to.
func (p *platform) log() string { return filepath.Join(p.dir, "server.log") }

// address is where the server listens.
func (p *platform) address() string { return strings.TrimPrefix(p.info.BaseURL, "http://") }

// kill ends the server as a crash would, and returns what it has used.
func (p *platform) kill() usage {
	if p.process == nil {
		return p.past
	}
	p.past = p.usage()
	p.process.kill()
	p.process = nil
	return p.past
}

// usage is what the server's processes have used so far.
func (p *platform) usage() usage {
	u := usageOf(p.cmd.Process.Pid)
	return usage{cpu: p.past.cpu + u.cpu, peak: max(p.past.peak, u.peak)}
}

// usage is what a process has used.
type usage struct {
	cpu  time.Duration // of all cores, in the kernel too
	peak int64         // bytes of memory at most
}

// tick is the unit of CPU times in /proc: USER_HZ is 100 wherever Go runs.
const tick = 10 * time.Millisecond

// usageOf reads it from /proc. Systems without that have no figures: zero.
func usageOf(pid int) (u usage) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	if stat, err := os.ReadFile(filepath.Join(dir, "stat")); err == nil { //nolint:gosec // of the kernel
		// The second field is the program's name in parentheses, which may hold
		// spaces; utime and stime are fields 14 and 15.
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		for _, f := range fields[11:13] {
			ticks, _ := strconv.ParseInt(f, 10, 64)
			u.cpu += time.Duration(ticks) * tick
		}
	}
	if status, err := os.ReadFile(filepath.Join(dir, "status")); err == nil { //nolint:gosec // of the kernel
		if _, after, ok := strings.Cut(string(status), "VmHWM:"); ok {
			kib, _ := strconv.ParseInt(strings.Fields(after)[0], 10, 64)
			u.peak = kib << 10
		}
	}
	return u
}
