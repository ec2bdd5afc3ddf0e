package webhook

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// dialTimeout bounds the making of a connection.
	dialTimeout = 5 * time.Second
	// minDial is the least time that an address of several gets, as in net.Dialer.
	minDial = 2 * time.Second
	// headStart is how long the first family is alone, as in net.Dialer.
	headStart = 300 * time.Millisecond
)

// Why a target cannot be called although its address may be.
var (
	errNoIPv4 = errors.New("no --egress-bind address for IPv4")
	errNoIPv6 = errors.New("no --egress-bind address for IPv6")
)

// CheckBind refuses addresses that connections cannot be bound to: each is
// bound to once.
func CheckBind(ctx context.Context, addrs []netip.Addr) error {
	for _, a := range addrs {
		switch {
		case !a.IsValid():
			return errors.New("an address is empty; write --egress-bind ADDR,…")
		case a.IsUnspecified() || a.IsMulticast() || a.Zone() != "":
			return fmt.Errorf("%s is not an address of one machine; give addresses that this machine has, without a zone", a)
		}
		var listen net.ListenConfig
		l, err := listen.Listen(ctx, "tcp", net.JoinHostPort(a.Unmap().String(), "0"))
		if err != nil {
			return fmt.Errorf("%w; give only addresses that this machine has", err)
		}
		if err := l.Close(); err != nil {
			return err
		}
	}
	return nil
}

// egress makes connections that come from given local addresses.
type egress struct {
	dialer net.Dialer
	v4, v6 source
	lookup func(ctx context.Context, host string) ([]net.IPAddr, error)
}

// source is the local addresses of one family, which take turns.
type source struct {
	addrs []netip.Addr
	turn  atomic.Uint64
}

func (s *source) next() netip.Addr {
	return s.addrs[(s.turn.Add(1)-1)%uint64(len(s.addrs))]
}

// newEgress returns an egress that dials as the dialer does, from the given
// addresses.
func newEgress(dialer *net.Dialer, from []netip.Addr) *egress {
	e := &egress{dialer: *dialer, lookup: net.DefaultResolver.LookupIPAddr}
	e.dialer.Control = func(network, address string, c syscall.RawConn) error {
		bindLate(c)
		if dialer.Control == nil {
			return nil
		}
		return dialer.Control(network, address, c)
	}
	for _, a := range from {
		s := &e.v6
		if a = a.Unmap(); a.Is4() {
			s = &e.v4
		}
		if !slices.Contains(s.addrs, a) {
			s.addrs = append(s.addrs, a)
		}
	}
	return e
}

// way leads to a host's addresses of one family.
type way struct {
	from *source
	to   []netip.Addr
}

// dial is net.Dialer's DialContext, bound to a local address of the family of
// the target. A name is resolved here, since one local address cannot serve
// both families; the addresses it leads to are still the guard's to judge.
func (e *egress) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	ways, err := e.ways(ctx, host)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	return e.race(ctx, ways, port)
}

// ways returns the ways to a host, in the order of its addresses, without
// those of a family that has no local address.
func (e *egress) ways(ctx context.Context, host string) (ways []way, err error) {
	found, err := e.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	missing := errors.New("the host has no address")
	for _, f := range found {
		ip, ok := netip.AddrFromSlice(f.IP)
		if !ok {
			continue
		}
		ip = ip.Unmap().WithZone(f.Zone)
		from, none := &e.v6, errNoIPv6
		if ip.Is4() {
			from, none = &e.v4, errNoIPv4
		}
		if len(from.addrs) == 0 {
			missing = none
			continue
		}
		i := slices.IndexFunc(ways, func(w way) bool { return w.from == from })
		if i < 0 {
			i, ways = len(ways), append(ways, way{from: from})
		}
		ways[i].to = append(ways[i].to, ip)
	}
	if len(ways) == 0 {
		return nil, missing
	}
	return ways, nil
}

// race tries the ways, each with a head start before the next (RFC 8305), and
// returns the first connection, or why the first one failed that did.
func (e *egress) race(ctx context.Context, ways []way, port string) (won net.Conn, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type outcome struct {
		conn net.Conn
		err  error
	}
	var running sync.WaitGroup
	outcomes := make(chan outcome, len(ways))
	pending := 0
	start := func() {
		w := ways[0]
		ways = ways[1:]
		pending++
		running.Go(func() {
			conn, err := e.connect(ctx, w, port)
			outcomes <- outcome{conn, err}
		})
	}
	start()
	alone := time.NewTimer(headStart)
	defer alone.Stop()
	for won == nil && pending > 0 {
		select {
		case <-alone.C:
		case o := <-outcomes:
			pending--
			if won = o.conn; won == nil && err == nil {
				err = o.err
			}
		}
		if won == nil && len(ways) > 0 {
			start()
		}
	}
	cancel()
	running.Wait()
	close(outcomes)
	for late := range outcomes {
		if late.conn != nil {
			_ = late.conn.Close()
		}
	}
	if won != nil {
		return won, nil
	}
	return nil, err
}

// connect tries the addresses of one way in turn, each with its share of the
// time that is left, and returns why the first one failed.
func (e *egress) connect(ctx context.Context, w way, port string) (net.Conn, error) {
	end, _ := ctx.Deadline()
	var failure error
	for i, ip := range w.to {
		dialer := e.dialer
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(w.from.next(), 0))
		dialer.Timeout = max(minDial, time.Until(end)/time.Duration(len(w.to)-i)) // ctx ends it at the latest
		conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(ip.String(), port))
		if err == nil {
			return conn, nil
		}
		if failure == nil {
			failure = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, failure
}
