package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	// lease is how long a node may send after it was last heard of; then others
	// take over what it did.
	lease = 8 * time.Second
	// leaseMargin is how much earlier it stops by itself.
	leaseMargin = time.Second
	// beatEvery is how often a node makes itself heard.
	beatEvery = time.Second
	// lookEvery is how often it looks for what it was not told of.
	lookEvery = 10 * time.Second
	// assignTime is how long the ledger may take to tell of new slots: the next
	// beat must not be late.
	assignTime = 3 * time.Second

	listenRetry = 100 * time.Millisecond // after the connection broke, growing to listenMax
	listenMax   = 2 * time.Second
	changeRetry = time.Second
)

// News is what a node hears of what others have written.
type News struct {
	Look    []string // apps with new deliveries
	LookAll bool
	Wake    []string // apps whose deliveries were put back
	Feed    bool     // has grown
	Changes bool     // there are some
	Nodes   bool     // have come or gone, or slots are free
}

// ChangeKind is what a change is of.
type ChangeKind string

// What nodes remember, or hold in memory, and must not any more.
const (
	AppChanged   ChangeKind = "app"   // its settings, keys or secrets
	GrantRevoked ChangeKind = "grant" // what rests on it
	EventErased  ChangeKind = "event" // its content
)

// Change is one of them. A node says that it has seen it only when it no longer
// acts on what was before.
type Change struct {
	ID   int64
	Kind ChangeKind
	Ref  string // the app's slug, or the id of the grant or event
}

// Beat is how a node makes itself heard.
type Beat struct {
	// Name is the same again when the same process is started again, and no
	// other's: where that is so, nobody has to wait for the end of its last lease.
	Name, Version string
	Lease         time.Duration
	Release       []int // slots that it gives up
	Seen          int64 // the last change that it has seen; 0: it remembers nothing
}

// Standing is what it learns.
type Standing struct {
	Node   int64
	Nodes  int   // that live
	Slots  []int // that are its own
	Excess int   // how many of them are beyond its share
}

// Peer is a node as the others see it.
type Peer struct {
	Node          int64
	Name, Version string
	StartedAt     time.Time
	Slots         int
}

// Members is the ledger as nodes use it to share the work.
type Members interface {
	// Beat renews the lease, takes out those whose lease has ended a second ago,
	// and takes free slots up to an equal share.
	Beat(ctx context.Context, b Beat) (Standing, error)
	// Leave takes this node out.
	Leave(ctx context.Context) error
	// Listen tells of news until ctx ends or the connection breaks; first of all
	// that there may be any, because what was said before is not heard.
	Listen(ctx context.Context, heard func(News)) error
	// Changes returns those after one, in order.
	Changes(ctx context.Context, after int64) ([]Change, error)
	// Saw notes that this node has seen a change and all before it.
	Saw(ctx context.Context, change int64) error
}

// Node is this process among those that share a ledger. It keeps the lease
// without which the engine sends nothing, and passes on what other nodes say.
type Node struct {
	o   NodeOptions
	log *slog.Logger

	cancel  context.CancelFunc
	running sync.WaitGroup
	beat    chan struct{} // make yourself heard now
	change  chan struct{} // there are changes
	seen    int64

	mu      sync.Mutex
	id      int64
	leaving map[int]bool // slots that are being given up
	drained []int        // those that can be
}

// NodeOptions of a Node.
type NodeOptions struct {
	Members       Members
	Engine        *Engine
	Name, Version string // see Beat
	// AppChanged makes the node forget what it remembers of an app, "" for all.
	AppChanged func(app string)
	// FeedGrown is told that there may be more on the feed.
	FeedGrown func()
	Log       *slog.Logger // default: discard
}

// NewNode returns a node; Start makes it one of those that live.
func NewNode(o NodeOptions) (*Node, error) {
	if o.Members == nil || o.Engine == nil || o.AppChanged == nil || o.FeedGrown == nil {
		return nil, errors.New("delivery: Members, Engine, AppChanged and FeedGrown are needed")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Node{
		o: o, log: o.Log, beat: make(chan struct{}, 1), change: make(chan struct{}, 1), leaving: map[int]bool{},
	}, nil
}

// Start joins, once it hears the others, and takes its share of the slots.
func (n *Node) Start(ctx context.Context) error {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	n.cancel = cancel
	hears := make(chan error, 1)
	n.running.Go(func() { n.listen(life, hears) })
	select {
	case err := <-hears:
		if err != nil {
			return fmt.Errorf("listen to other nodes: %w", err)
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := n.makeHeard(ctx); err != nil {
		return fmt.Errorf("join the nodes of this ledger: %w", err)
	}
	n.running.Go(func() { n.keepHeard(life) })
	n.running.Go(func() { n.follow(life) })
	return nil
}

// Stop leaves. The engine has stopped before.
func (n *Node) Stop(ctx context.Context) error {
	if n.cancel == nil {
		return nil
	}
	n.cancel()
	n.running.Wait()
	if n.id == 0 {
		return nil
	}
	return n.o.Members.Leave(ctx)
}

// listen hears what others say, over one connection after another. The first
// result goes to hears.
func (n *Node) listen(ctx context.Context, hears chan<- error) {
	for wait := listenRetry; ctx.Err() == nil; wait = min(2*wait, listenMax) {
		err := n.o.Members.Listen(ctx, func(news News) {
			wait = listenRetry
			select {
			case hears <- nil:
			default:
			}
			n.hear(news)
		})
		select {
		case hears <- err:
		default:
		}
		if ctx.Err() != nil {
			return
		}
		n.log.WarnContext(ctx, "other nodes cannot be heard; trying again", "err", err)
		pause(ctx, wait)
	}
}

// pause waits, or returns when ctx ends.
func pause(ctx context.Context, wait time.Duration) {
	select {
	case <-time.After(wait):
	case <-ctx.Done():
	}
}

func (n *Node) hear(news News) {
	if news.LookAll {
		n.o.Engine.Look(nil)
	}
	if len(news.Look) > 0 {
		n.o.Engine.Look(news.Look)
	}
	for _, app := range news.Wake {
		n.o.Engine.Wake(app)
	}
	if news.Feed {
		n.o.FeedGrown()
	}
	if news.Changes {
		poke(n.change)
	}
	if news.Nodes {
		poke(n.beat)
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is about to look anyway
	}
}

// keepHeard renews the lease as long as the node lives.
func (n *Node) keepHeard(ctx context.Context) {
	tick, look := time.NewTicker(beatEvery), time.NewTicker(lookEvery)
	defer tick.Stop()
	defer look.Stop()
	for {
		select {
		case <-n.beat:
		case <-tick.C:
		case <-look.C:
			n.o.FeedGrown()
			poke(n.change)
			n.o.Engine.lead()
			poke(n.o.Engine.search)
			continue
		case <-ctx.Done():
			return
		}
		if err := n.makeHeard(ctx); err != nil && ctx.Err() == nil {
			n.log.WarnContext(ctx, "the ledger was not reached in time; trying again", "node", n.id, "err", err)
		}
	}
}

// makeHeard renews the lease and takes or gives up slots.
func (n *Node) makeHeard(ctx context.Context) error {
	asked := time.Now()
	n.mu.Lock()
	drained := slices.Clone(n.drained)
	beat := Beat{Name: n.o.Name, Version: n.o.Version, Lease: lease, Release: drained, Seen: n.seen}
	n.mu.Unlock()
	st, err := n.o.Members.Beat(ctx, beat)
	if err != nil {
		return err
	}
	n.mu.Lock()
	if n.id != st.Node {
		if n.id != 0 {
			n.log.WarnContext(ctx, "this node was taken for dead, and has come back", "was", n.id, "node", st.Node)
			// Others have done its work since, and made changes.
			n.o.Engine.Forsake()
			n.o.AppChanged("")
			clear(n.leaving)
			n.drained, drained = nil, nil
		} else {
			n.seen = st.Node
		}
		n.id = st.Node
	}
	for _, s := range drained {
		delete(n.leaving, s)
	}
	n.drained = n.drained[len(drained):]
	own := slices.DeleteFunc(slices.Clone(st.Slots), func(s int) bool { return n.leaving[s] })
	var excess []int
	if more := st.Excess - len(n.leaving); more > 0 {
		excess = own[len(own)-more:]
		own = own[:len(own)-more]
		for _, s := range excess {
			n.leaving[s] = true
		}
	}
	n.mu.Unlock()
	n.o.Engine.Extend(asked.Add(lease - leaseMargin))
	for _, s := range excess { // each by itself: a slow app holds only its own
		wait := n.o.Engine.Release([]int{s})
		n.running.Go(func() { n.giveUp(ctx, st.Node, s, wait) })
	}
	soon, cancel := context.WithTimeout(ctx, assignTime)
	defer cancel()
	return n.o.Engine.Assign(soon, own)
}

// giveUp lets others have a slot once what was done for it has ended.
func (n *Node) giveUp(ctx context.Context, as int64, slot int, wait func(context.Context) error) {
	if err := wait(ctx); err != nil {
		return // the node stops
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.id == as { // else it is no longer this one's
		n.drained = append(n.drained, slot)
		poke(n.beat)
	}
}

// follow acts on changes.
func (n *Node) follow(ctx context.Context) {
	for {
		select {
		case <-n.change:
		case <-ctx.Done():
			return
		}
		if err := n.catchUp(ctx); err != nil && ctx.Err() == nil {
			n.log.WarnContext(ctx, "changes by other nodes cannot be read; trying again", "err", err)
			time.AfterFunc(changeRetry, func() { poke(n.change) })
		}
	}
}

func (n *Node) catchUp(ctx context.Context) error {
	changes, err := n.o.Members.Changes(ctx, n.seen)
	if err != nil || len(changes) == 0 {
		return err
	}
	for _, c := range changes {
		if err := n.act(ctx, c); err != nil {
			return fmt.Errorf("change %d of %s %s: %w", c.ID, c.Kind, c.Ref, err)
		}
		n.mu.Lock()
		n.seen = c.ID
		n.mu.Unlock()
	}
	return n.o.Members.Saw(ctx, n.seen)
}

func (n *Node) act(ctx context.Context, c Change) error {
	var id int64
	if c.Kind == GrantRevoked || c.Kind == EventErased {
		var err error
		if id, err = strconv.ParseInt(c.Ref, 10, 64); err != nil {
			return err
		}
	}
	switch c.Kind {
	case AppChanged:
		n.o.AppChanged(c.Ref)
		n.o.Engine.Wake(c.Ref)
		return nil
	case GrantRevoked:
		return n.o.Engine.Silence(ctx, id)
	case EventErased:
		return n.o.Engine.Erase(ctx, id)
	default: // of a newer node; better to forget too much
		n.o.AppChanged("")
		return nil
	}
}
