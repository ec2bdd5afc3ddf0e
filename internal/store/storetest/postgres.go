package storetest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/openkenar/openkenar/internal/store"
)

// Postgres returns the URL of a new, empty ledger on PostgreSQL, which goes
// when the test ends. The server is the test binary's own, started by the first
// test that asks: one that runs in a synctest bubble cannot be the first. Where
// none is installed the test is skipped; in CI it fails.
//
// A benchmark gets a server that syncs its disk, as a real one does; tests do
// without.
func Postgres(t testing.TB) string {
	t.Helper()
	return postgres(t, template)
}

// NoLedger is Postgres with a database in which nothing is, not even a schema.
func NoLedger(t testing.TB) string {
	t.Helper()
	return postgres(t, "template0")
}

// template is the database with an empty ledger.
const template = "empty_ledger"

// errMissing says that there is no PostgreSQL on this machine.
var errMissing = errors.New("no PostgreSQL on this machine: no initdb in PATH or /usr/lib/postgresql/*/bin")

var (
	hasty    = sync.OnceValues(func() (*cluster, error) { return startCluster("off") })
	thorough = sync.OnceValues(func() (*cluster, error) { return startCluster("on") })
)

func postgres(t testing.TB, from string) string {
	t.Helper()
	start := hasty
	if _, ok := t.(*testing.B); ok {
		start = thorough
	}
	c, err := start()
	if errors.Is(err, errMissing) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatalf("PostgreSQL for tests: %v", err)
	}
	name := fmt.Sprintf("ledger_%d", c.databases.Add(1))
	if err := c.exec(t.Context(), "CREATE DATABASE "+name+" TEMPLATE "+from); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.exec(context.WithoutCancel(t.Context()), "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	return c.url(name)
}

// cluster is a PostgreSQL server in a temporary directory.
type cluster struct {
	dir       string
	databases atomic.Int64

	mu      sync.Mutex // of the shell
	orders  io.Writer
	answers *bufio.Reader
	end     func() error // the server stops then, as it does at whatever end of the process
}

// shell carries out what it is ordered, one line after another, and answers each
// with its exit code. At the end of its standard input the server goes.
const shell = `
while read -r order; do
	eval "$order" >>"$DIR/log" 2>&1 </dev/null
	echo $?
done
pg_ctl stop --mode immediate --pgdata "$DIR/data" >/dev/null 2>&1
rm -rf "$DIR"
`

// Orders of the shell.
const (
	makeCluster = `initdb --pgdata "$DIR/data" --username postgres --auth trust --encoding UTF8 --no-locale --no-sync`
	start       = `pg_ctl start --wait --pgdata "$DIR/data" --log "$DIR/log" --options "-k '$DIR' -c listen_addresses= ` +
		`-c max_wal_size=4GB -c shared_buffers=128MB %s"`
)

// newCluster returns a directory and a shell for a server, and does not start it.
func newCluster() (*cluster, error) {
	programs, err := findPrograms()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "openkenar-postgres-")
	if err != nil {
		return nil, err
	}
	args := []string{"sh", "-c", shell}
	if os.Getuid() == 0 { // as which PostgreSQL refuses to run
		const nobody = 65534
		if err := os.Chown(dir, nobody, nobody); err != nil {
			return nil, err
		}
		args = slices.Concat([]string{"setpriv", fmt.Sprint("--reuid=", nobody), fmt.Sprint("--regid=", nobody), "--clear-groups"}, args)
	}
	cmd := exec.Command(args[0], args[1:]...) //nolint:noctx // it outlives the test that starts it
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "DIR="+dir, "PATH="+programs+string(filepath.ListSeparator)+os.Getenv("PATH"))
	c := &cluster{dir: dir}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.orders, c.answers = in, bufio.NewReader(out)
	c.end = func() error { return errors.Join(in.Close(), cmd.Wait()) }
	return c, cmd.Start()
}

// do carries out an order.
func (c *cluster) do(order string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := fmt.Fprintln(c.orders, order); err != nil {
		return err
	}
	if line, err := c.answers.ReadString('\n'); line != "0\n" {
		log, _ := os.ReadFile(filepath.Join(c.dir, "log"))
		return errors.Join(err, fmt.Errorf("%s: exit code %s: %s", order, strings.TrimSpace(line), log[max(0, len(log)-2000):]))
	}
	return nil
}

// startCluster starts a server for many tests.
func startCluster(fsync string) (*cluster, error) {
	c, err := newCluster()
	if err != nil {
		return nil, err
	}
	ctx := context.Background() //nolint:forbidigo // the cluster is of no test's making
	return c, c.prepare(ctx, fmt.Sprintf("-c max_connections=1000 -c fsync=%s -c full_page_writes=%[1]s -c autovacuum=%[1]s", fsync))
}

// prepare makes a server, and in it the database with an empty ledger.
func (c *cluster) prepare(ctx context.Context, options string) error {
	if err := c.do(makeCluster); err != nil {
		return err
	}
	if err := c.do(fmt.Sprintf(start, options)); err != nil {
		return err
	}
	if err := c.exec(ctx, "CREATE DATABASE "+template); err != nil {
		return err
	}
	_, _, err := store.Migrate(ctx, store.Options{URL: c.url(template)})
	return err
}

// Tool runs a program of PostgreSQL, as an operator would, and returns what it
// prints. Postgres must have been called before.
func Tool(t testing.TB, program string, args ...string) string {
	t.Helper()
	dir, err := findPrograms()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(dir, program), args...).CombinedOutput() //nolint:gosec // the test names it
	if err != nil {
		t.Fatalf("%s: %v: %s", program, err, out)
	}
	return string(out)
}

// findPrograms returns the directory of the newest PostgreSQL.
func findPrograms() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		path, err = filepath.EvalSymlinks(path) // not all of them may have a link there
		return filepath.Dir(path), err
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", errors.Join(err, errMissing)
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int {
		return len(a) - len(b) + strings.Compare(a, b)
	})), nil
}

// password is not asked for by these servers; what prints it gives itself away.
const password = "secret-password"

func (c *cluster) url(database string) string {
	q := url.Values{"host": {c.dir}}
	return "postgres://postgres:" + password + "@/" + database + "?" + q.Encode()
}

// exec runs a statement outside of any ledger.
func (c *cluster) exec(ctx context.Context, q string) (err error) {
	conn, err := pgx.Connect(ctx, c.url("postgres"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	if _, err := conn.Exec(ctx, q); err != nil {
		return fmt.Errorf("%s: %w", q, err)
	}
	return nil
}
