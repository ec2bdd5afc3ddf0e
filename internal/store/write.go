package store

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/status"
)

// errSpoilt says that a group's transaction was rolled back because one of its
// writes failed halfway.
var errSpoilt = errors.New("a write of the group failed halfway")

const (
	// How long the writer waits before it asks again what became of a commit.
	settleWait    = 50 * time.Millisecond
	maxSettleWait = time.Second
	// patience is how long a caller waits for its write. Where the database is
	// known to be down, or found to be, it is answered sooner.
	patience = 7 * time.Second
	// lookAgain is how much longer it waits each time when its write can neither
	// be withdrawn nor be undecided any more: it is about to be answered.
	lookAgain = 100 * time.Millisecond
)

// errBusy says that the writer did not come to a write in time.
var errBusy = errors.New("a write takes too long")

// The stages of a write.
const (
	waiting   int32 = iota
	withdrawn       // its caller has left; it is not carried out
	running
	deciding // the COMMIT is under way: it is not run again
)

// write is one caller's part of a group.
type write struct {
	run      func(*Tx) error
	patience time.Duration // of its caller; 0: until its outcome is known
	lateToo  bool          // also while this node is taken for dead
	change   int64         // the last change that it made; 0: none
	err      error
	done     chan struct{}
	stage    atomic.Int32
}

// write runs f in a transaction and returns once it is on disk, or once it is
// certain that nothing of it is. f may run twice and must then do the same
// again. When ctx ends while the write waits its turn, it is still carried out
// and its outcome returned: a caller always knows.
//
// Failure policy: a caller that has waited for patience is told that nothing was
// accepted, and nothing is, or that this is not known, when the COMMIT itself
// hangs (which the writer then settles alone).
//
// What ends something that other nodes remember is answered once they have
// heard of it.
func (s *Store) write(ctx context.Context, f func(*Tx) error) error {
	w := &write{run: f, patience: patience}
	if err := s.submit(ctx, w); err != nil || w.change == 0 {
		return err
	}
	return s.agreed(ctx, w.change)
}

// submit has a write carried out and waits for it.
func (s *Store) submit(ctx context.Context, w *write) error {
	if s.readOnly {
		return errors.New("the ledger is open for reading only")
	}
	w.done = make(chan struct{})
	over := time.NewTimer(w.patience)
	defer over.Stop()
	if w.patience == 0 {
		over.Stop()
	}
	select {
	case s.queue <- w:
	case <-over.C:
		return refusal("queue", errBusy)
	case <-ctx.Done():
		return ctx.Err()
	case <-s.stop:
		return errClosed()
	}
	for {
		select {
		case <-w.done:
			return w.err
		case <-over.C:
			switch {
			case w.stage.CompareAndSwap(waiting, withdrawn):
				return refusal("queue", errBusy)
			case w.stage.Load() == deciding:
				return doubtful(errBusy)
			}
			over.Reset(lookAgain)
		case <-s.gone:
			select {
			case <-w.done:
				return w.err
			default:
				return errClosed()
			}
		}
	}
}

func errClosed() error { return status.New(status.Unavailable, "the server is stopping; try again") }

// run is the writer.
func (s *Store) run(ctx context.Context) {
	defer close(s.gone)
	group := make([]*write, 0, groupLimit)
	for {
		group = group[:0]
		select {
		case w := <-s.queue:
			group = w.join(group)
		case <-s.stop:
			return
		}
	waiting:
		for len(group) < groupLimit {
			select {
			case w := <-s.queue:
				group = w.join(group)
			default:
				break waiting
			}
		}
		if len(group) > 0 {
			s.commitGroup(ctx, group)
		}
	}
}

// join adds a write to a group, unless its caller has left.
func (w *write) join(group []*write) []*write {
	if !w.stage.CompareAndSwap(waiting, running) {
		return group
	}
	return append(group, w)
}

// commitGroup carries out a group and answers every write in it.
func (s *Store) commitGroup(ctx context.Context, group []*write) {
	if err := s.commit(ctx, group); errors.Is(err, errSpoilt) {
		for i := range group {
			s.finish(group[i:i+1], s.commit(ctx, group[i:i+1]))
		}
	} else {
		s.finish(group, err)
	}
}

// finish answers the writes of a transaction that ended with err.
func (s *Store) finish(group []*write, err error) {
	for _, w := range group {
		if err != nil {
			w.err = err
		}
		close(w.done)
	}
}

// commit runs a group in one transaction.
func (s *Store) commit(ctx context.Context, group []*write) error {
	now, err := s.begin(ctx)
	if err != nil {
		s.rollback(ctx)
		return s.refuse("begin", err)
	}
	tx := s.newTx(ctx, now)
	for _, w := range group {
		if !now.member && tx.joined == 0 && !w.lateToo {
			w.err = errAway()
			continue
		}
		before, changed := tx.writes, tx.changed
		w.err, w.change = guarded(w.run, tx), 0
		if tx.changed > changed && now.others > 0 {
			w.change = tx.changed
		}
		if tx.broken == nil && (w.err == nil || tx.writes == before && status.KindOf(w.err) != status.Internal) {
			continue
		}
		return s.abandon(ctx, group, tx.failure(w.err))
	}
	if s.unlisted >= maxUnlisted {
		err = tx.listAll()
	}
	var mark int64
	if err == nil {
		mark, err = tx.finish()
	}
	if err == nil && s.connection() == failed {
		err = errors.New("a statement failed, and its write did not say so")
	}
	if err != nil {
		return s.abandon(ctx, group, s.refuse("write", err))
	}
	for _, w := range group {
		w.stage.Store(deciding)
	}
	start := time.Now()
	if err := s.control(ctx, "COMMIT"); err != nil {
		lost := mark != 0 && s.connection() == broken
		s.rollback(ctx)
		if lost {
			err = s.settle(ctx, mark, err)
		} else {
			err = s.refuse("commit", err)
		}
		if err != nil {
			return err
		}
	}
	if mark != 0 {
		s.marked = mark
	}
	if s.unlisted += tx.messages; tx.listed {
		s.unlisted = 0
	}
	// What is pending now can be seen since the commit, or since its outcome is
	// known: a look meanwhile may have gone past it.
	s.floors.lower(tx.pending)
	if tx.writes > 0 {
		s.last.note(nil)
	}
	s.metrics.commit.Observe(time.Since(start).Seconds())
	s.metrics.writes.Observe(float64(len(group)))
	s.metrics.committed(tx)
	if tx.joined != 0 {
		s.node.Store(tx.joined)
	}
	s.tell(tx)
	if len(tx.fresh)+len(tx.unsent) > 0 {
		s.happened(tx.fresh, tx.unsent)
	}
	if len(tx.published) > 0 {
		s.fed()
	}
	s.replan(ctx)
	return nil
}

// tell tells of the new deliveries. They are handed over only where no other
// node can have written one that comes before; the last word of those that have
// gone may not have been heard.
func (s *Store) tell(tx *Tx) {
	before := s.alone
	s.alone = s.dialect.exclusive || tx.others == 0 && s.node.Load() != 0
	switch {
	case s.alone && !before:
		s.appeared(nil)
	case len(tx.fresh) == 0:
	case s.alone:
		s.committed(tx.fresh)
	default:
		s.appeared(appsOf(tx.fresh))
	}
}

// errAway is the answer of a node that was taken for dead and has not noticed
// yet. Others may have taken over what it did.
func errAway() error {
	return status.New(status.Unavailable, "this node was cut off and is coming back; nothing was accepted; try again")
}

// failure is why a write failed, which returned err: it may have overlooked
// that a statement did.
func (tx *Tx) failure(err error) error {
	switch {
	case tx.broken != nil && tx.store.dialect.storage(tx.broken):
		return tx.store.refuse("write", tx.broken)
	case err == nil:
		return tx.broken
	default:
		return err
	}
}

// replan has plans made anew whenever the number of commits has doubled: one
// that was made for an empty table, such as reading all of it, does not outlive
// the table's being small.
func (s *Store) replan(ctx context.Context) {
	if s.commits++; s.dialect.replan != "" && s.commits&(s.commits-1) == 0 {
		_ = s.control(ctx, s.dialect.replan) // if the connection is gone, so are its plans
	}
}

// begin starts a transaction, on a new connection if the last one is gone:
// nothing has been written yet.
func (s *Store) begin(ctx context.Context) (t turn, err error) {
	if s.connection() != broken {
		if t, err = s.dialect.begin(ctx, s); err == nil || s.connection() != broken {
			return t, err
		}
	}
	if err = s.connect(ctx); err != nil {
		return t, err
	}
	s.log.InfoContext(ctx, "the writer has a new connection", "ledger", s.name)
	return s.dialect.begin(ctx, s)
}

// abandon rolls a transaction back, of which a write failed with err. Where the
// connection is gone, none of the group would fare better alone.
func (s *Store) abandon(ctx context.Context, group []*write, err error) error {
	if s.dialect.readOnly(err) {
		s.discard() // the next connection may find a place that takes writes
	}
	gone := s.connection() == broken
	s.rollback(ctx)
	switch {
	case gone && status.KindOf(err) != status.Unavailable:
		return s.refuse("write", err)
	case gone || len(group) == 1:
		return err
	}
	return errSpoilt
}

// settle finds out what became of a transaction whose COMMIT has lost its
// answer. Failure policy: the writer goes on until that is known, whether or not
// a caller still waits: the engine must hear of what was committed.
func (s *Store) settle(ctx context.Context, mark int64, lost error) error {
	s.log.WarnContext(ctx, "the connection broke during a commit; asking for its outcome", "err", lost)
	s.last.note(lost)
	for wait := settleWait; ; wait = min(2*wait, maxSettleWait) {
		committed, err := s.outcome(ctx, mark)
		switch {
		case err != nil && !errors.Is(err, errDown):
			s.log.WarnContext(ctx, "the outcome of a commit is not known yet", "err", err)
		case err == nil && committed:
			return nil
		case err == nil:
			return s.refuse("commit", lost)
		}
		s.last.note(err)
		if !s.holdOff(wait, err) {
			return doubtful(lost)
		}
	}
}

// holdOff waits, and refuses meanwhile what comes; it returns false when the
// store is being closed.
func (s *Store) holdOff(wait time.Duration, why error) bool {
	over := time.NewTimer(wait)
	defer over.Stop()
	for {
		select {
		case w := <-s.queue:
			s.finish(w.join(nil), refusal("begin", why))
		case <-over.C:
			return true
		case <-s.stop:
			return false
		}
	}
}

// outcome says whether the transaction that left a mark was committed. The turn
// comes only when that transaction has ended. Leaving a mark of its own has two
// ends: what is found is where every commit goes, on a standby say, also when
// the commit itself was not waited for; and this place takes writes.
func (s *Store) outcome(ctx context.Context, mark int64) (committed bool, err error) {
	if err := s.connect(ctx); err != nil {
		return false, err
	}
	now, err := s.dialect.begin(ctx, s)
	if err == nil {
		tx := s.newTx(ctx, now)
		var one int
		if committed, err = row(ctx, tx, `SELECT 1 FROM commits WHERE id = $1`, []any{mark}, &one); err == nil {
			_, err = s.dialect.end(tx)
		}
	}
	if err == nil {
		err = s.control(ctx, "COMMIT")
	}
	if err != nil {
		s.discard()
	}
	return committed, err
}

// doubtful is the error of a commit whose outcome is not known.
func doubtful(err error) error {
	return unavailable("commit", err, "the storage broke off; whether this was accepted is not known; try again with the same id")
}

// connection says what the writer's connection is good for.
func (s *Store) connection() state {
	if s.writing == nil {
		return broken
	}
	return s.dialect.state(s.writing)
}

// rollback undoes a transaction. The engine may have done so by itself (a full
// disk); then this fails, and the next BEGIN tells whether all is well again.
func (s *Store) rollback(ctx context.Context) {
	s.known.forgetAll()
	if s.connection() != broken {
		_ = s.control(ctx, "ROLLBACK")
	}
}

// finish writes what the group has gathered, and the mark by which it is known
// whether it was committed; 0 where that needs none.
func (tx *Tx) finish() (mark int64, err error) {
	if err := tx.flush(gathered); err != nil {
		return 0, err
	}
	if err := tx.number(); err != nil {
		return 0, err
	}
	if tx.writes == 0 || tx.store.dialect.end == nil {
		return 0, nil
	}
	return tx.store.dialect.end(tx)
}

// refuse is the error of storage that takes no writes.
func (s *Store) refuse(what string, err error) error {
	s.last.note(err)
	return refusal(what, err)
}

// refusal is the error of a write that was not carried out. Failure policy:
// nothing was accepted, and the caller is told to try again.
func refusal(what string, err error) error {
	return unavailable(what, err, "the storage takes no writes now; nothing was accepted; try again")
}

// unavailable is an error of the storage. A database that is known to be down is
// on the log once, not with every call.
func unavailable(what string, err error, said string) error {
	if errors.Is(err, errDown) {
		return &status.Error{Kind: status.Unavailable, Message: said}
	}
	return status.Wrap(status.Unavailable, fmt.Errorf("%s: %w", what, err), "%s", said)
}

// guarded keeps a panic in one write from ending all the others.
func guarded(f func(*Tx) error, tx *Tx) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic in a transaction: %v\n%s", r, debug.Stack())
		}
	}()
	return f(tx)
}

func (s *Store) control(ctx context.Context, q string) error {
	st, err := s.prepared(ctx, q)
	if err == nil {
		_, err = st.ExecContext(ctx)
	}
	return err
}

// newTx begins to use a turn, in which others may have written since the last.
func (s *Store) newTx(ctx context.Context, now turn) *Tx {
	if now.last != s.marked {
		s.known.forgetAll()
		s.marked, s.lastID = now.last, max(s.lastID, now.last)
	}
	return &Tx{store: s, ctx: ctx, others: now.others, after: now.after(), gathered: s.gathering(), ended: map[delivery.State]int{}}
}

// Tx is one write's view of a group's transaction. It lives as long as the
// function it is given to.
type Tx struct {
	store  *Store
	ctx    context.Context // of the writer; the transaction's own life
	writes int             // statements that may have changed something
	fresh  []delivery.Delivery
	unsent []string // apps with events that are not sent, and that they may fetch

	broken    error               // of the first statement that failed
	gathered  map[*bulkKind][]any // rows to be written, one value after another
	published []published
	messages  int  // new ones
	listed    bool // it has listed messages

	// Where several nodes write:
	others  int              // that live
	after   int64            // what happens is later than what has this id; 0: nothing says so
	woken   []string         // apps of which deliveries were put back
	changed int64            // the last change to what nodes remember; 0: none
	joined  int64            // this node's id, if it has joined
	moved   bool             // nodes have come or gone, or slots
	pending map[string]int64 // when the first falls due of what an app has got to be sent

	// For the metrics:
	events int                    // new ones
	ended  map[delivery.State]int // deliveries that are no longer pending
}

// NextID returns the next time-ordered id.
func (tx *Tx) NextID() int64 {
	s := tx.store
	s.lastID = max(s.lastID+1, idAt(s.now()))
	return s.lastID
}
