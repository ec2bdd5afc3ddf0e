package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openkenar/openkenar/internal/bench"
	"github.com/openkenar/openkenar/internal/store/storetest"
)

// TestBench runs scenarios so small that their speed means nothing: it tests
// the command, and that nothing is lost on the way.
func TestBench(t *testing.T) {
	t.Parallel()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(t.TempDir(), "bench")
	scenarios := []string{"single", "batch", "steady", "restart"}
	cmd := exec.CommandContext(t.Context(), program,
		"bench", "--scenario", strings.Join(scenarios, ","), "--events", "500", "--data", data, "--json")
	cmd.Env = append(os.Environ(), asMain+"=1", "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	if len(lines) != len(scenarios) {
		t.Fatalf("got %d lines, want %d: %s", len(lines), len(scenarios), out)
	}
	for i, line := range lines {
		t.Logf("%s", line)
		var fields map[string]any
		if err := json.Unmarshal(line, &fields); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{
			"scenario", "bare_per_s", "accepted_per_s", "delivered_per_s", "ratio", "p50_ms", "p99_ms", "max_ms",
			"server_cpu_us_per_event", "peak_rss_mb", "lost", "repeated", "unaccounted",
		} {
			if _, ok := fields[name]; !ok {
				t.Errorf("%s: no field %s", scenarios[i], name)
			}
		}
		var r bench.Result
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		if r.Scenario != scenarios[i] || r.Events != 500 || r.Failed() || r.Repeated < 0 || r.P50 <= 0 || r.Max < r.P99 {
			t.Errorf("%s: %+v", scenarios[i], r)
		}
		if (r.FirstDelivery > 0) != (r.Scenario == "restart") {
			t.Errorf("%s: first delivery %v ms", r.Scenario, r.FirstDelivery)
		}
	}
}

// TestBenchPostgres runs a scenario whose ledger is in a database.
func TestBenchPostgres(t *testing.T) {
	t.Parallel()
	database := storetest.NoLedger(t)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, empty := range []bool{true, false} {
		cmd := exec.CommandContext(t.Context(), program, "bench", "--scenario", "batch", "--events", "500", "--database", database, "--json")
		cmd.Env = append(os.Environ(), asMain+"=1", "GORACE=atexit_sleep_ms=0")
		cmd.Stderr = t.Output()
		out, err := cmd.Output()
		if (err == nil) != empty {
			t.Fatalf("empty %t: %v: %s", empty, err, out)
		}
		var r bench.Result
		if !empty {
			continue
		}
		if err := json.Unmarshal(out, &r); err != nil || r.Events != 500 || r.Failed() {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

func TestBenchUsage(t *testing.T) {
	t.Parallel()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"--scenario", "singel"}, {"--events", "-1"}, {"--connections", "0"}} {
		cmd := exec.CommandContext(t.Context(), program, append([]string{"bench"}, args...)...)
		cmd.Env = append(os.Environ(), asMain+"=1")
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 2 {
			t.Errorf("bench %q: %v: %s", args, err, out)
		}
	}
}
