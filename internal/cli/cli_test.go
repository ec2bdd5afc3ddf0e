package cli_test

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/openkenar/openkenar/internal/cli"
	"github.com/openkenar/openkenar/internal/server"
	"github.com/openkenar/openkenar/internal/store/storetest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"openkenar": func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		code := cli.Run(ctx, os.Args[1:], os.Environ(), cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
		stop()
		os.Exit(code)
	}})
}

// TestCommands runs the scripts of testdata against the real program.
func TestCommands(t *testing.T) {
	t.Parallel()
	runScripts(t, "testdata", func(*testscript.Env) {})
}

// TestPostgresCommands runs scripts whose $DATABASE is an empty database.
func TestPostgresCommands(t *testing.T) {
	t.Parallel()
	storetest.NoLedger(t) // skips where there is no PostgreSQL
	t.Run("scripts", func(scripts *testing.T) {
		runScripts(scripts, "testdata/postgres", func(env *testscript.Env) { env.Setenv("DATABASE", storetest.NoLedger(t)) })
	})
}

func runScripts(t *testing.T, dir string, setup func(*testscript.Env)) {
	testscript.Run(t, testscript.Params{
		Dir: dir,
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", "atexit_sleep_ms=0") // else the race detector holds each command up for a second
			setup(env)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ready":    ready,
			"exits":    exits,
			"server":   useServer,
			"receiver": receiver,
			"feed":     feed,
			"junit":    junit,

			"got":       got,
			"position":  position,
			"subscribe": subscribe,
		},
	})
}

// ready waits until a file is there: the program writes it once it is ready.
func ready(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: ready FILE")
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for {
		select {
		case <-tick.C:
			if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
				return
			}
		case <-deadline:
			ts.Fatalf("%s is not there after 30 s", args[0])
		}
	}
}

// exits runs a command that must end with an exit code, where "! exec" takes
// every code but 0.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARGUMENT...]")
	}
	code := 0
	err := ts.Exec(args[1], args[2:]...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if want, err := strconv.Atoi(args[0]); err != nil || code != want {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// useServer makes the commands that follow call the dev server on a data
// directory.
func useServer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: server DATA")
	}
	var info server.DevInfo
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(filepath.Join(args[0], "dev.json"))), &info))
	ts.Setenv("OPENKENAR_SERVER", info.BaseURL)
	ts.Setenv("OPENKENAR_DATA", ts.MkAbs(args[0]))
}

// receivers counts the calls that apps have got, by the URL of each.
var receivers sync.Map

// got waits until the app at $RECEIVER has got as many calls.
func got(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: got CALLS")
	}
	want, err := strconv.ParseInt(args[0], 10, 64)
	ts.Check(err)
	calls, ok := receivers.Load(ts.Getenv("RECEIVER"))
	if !ok {
		ts.Fatalf("no receiver")
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(30 * time.Second); calls.(*atomic.Int64).Load() < want; {
		select {
		case <-tick.C:
		case <-deadline:
			ts.Fatalf("%d calls after 30 s, want %d", calls.(*atomic.Int64).Load(), want)
		}
	}
}

// position writes a state file of listen: it has come to a cursor of the sample
// app's at the server.
func position(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: position FILE CURSOR")
	}
	state, err := json.Marshal(map[string]string{"server": ts.Getenv("OPENKENAR_SERVER"), "app": "sample-app", "cursor": args[1]})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), state, 0o600))
}

// subscribe registers a subscription of the sample app of a dev server.
func subscribe(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: subscribe DATA EVENT_TYPE")
	}
	var info server.DevInfo
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(filepath.Join(args[0], "dev.json"))), &info))
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, info.BaseURL+"/v1/open-platform/events/subscriptions",
		strings.NewReader(`{"event_type":"`+args[1]+`"}`))
	ts.Check(err)
	req.Header.Set("X-API-Key", info.App.APIKey)
	req.Header.Set("Authorization", "Bearer "+info.Users.Seller.AccessToken)
	client := &http.Client{}
	resp, err := client.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		ts.Fatalf("subscribe: %s", resp.Status)
	}
}

// receiver starts an app that answers every call with a status and a text that
// would drive a terminal; $RECEIVER is its URL.
func receiver(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: receiver STATUS")
	}
	code, err := strconv.Atoi(args[0])
	ts.Check(err)
	calls := &atomic.Int64{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		w.WriteHeader(code)
		_, _ = io.WriteString(w, "got\x1b[2J it")
	}))
	ts.Defer(srv.Close)
	receivers.Store(srv.URL, calls)
	ts.Setenv("RECEIVER", srv.URL)
}

// junit reads a JUnit file, which must have so many failures and skipped cases.
func junit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: junit FILE FAILURES SKIPPED")
	}
	var file struct {
		Cases []struct {
			Failure *struct{} `xml:"failure"`
			Skipped *struct{} `xml:"skipped"`
		} `xml:"testsuite>testcase"`
	}
	ts.Check(xml.Unmarshal([]byte(ts.ReadFile(args[0])), &file))
	failures, skipped := 0, 0
	for _, c := range file.Cases {
		if c.Failure != nil {
			failures++
		}
		if c.Skipped != nil {
			skipped++
		}
	}
	if got := []string{strconv.Itoa(failures), strconv.Itoa(skipped)}; !slices.Equal(got, args[1:]) {
		ts.Fatalf("%s failures and %s skipped cases, want %s and %s", got[0], got[1], args[1], args[2])
	}
}

// feed writes messages to the dev server on a data directory, one after
// another, until that stops; the script goes on once a few are accepted.
func feed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: feed DATA")
	}
	var info server.DevInfo
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(filepath.Join(args[0], "dev.json"))), &info))
	ctx, cancel := context.WithCancel(context.Background())
	write := func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, info.BaseURL+"/host/v1/conversations/"+info.ConversationID+"/messages",
			strings.NewReader(`{"sender":"BUYER","text":"hello"}`))
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+info.HostKey)
		req.Header.Set("Content-Type", "application/json")
		client := &http.Client{}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	}
	for range 20 {
		ts.Check(write())
	}
	var feeding sync.WaitGroup
	feeding.Go(func() {
		for write() == nil {
			continue
		}
	})
	ts.Defer(func() {
		cancel()
		feeding.Wait()
	})
}
