package webhook

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// TestBindLate: the port is chosen when the target is known.
func TestBindLate(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"127.0.0.1", "::1"} {
		t.Run(addr, func(t *testing.T) {
			t.Parallel()
			needs(t, addr)
			var listen net.ListenConfig
			l, err := listen.Listen(t.Context(), "tcp", net.JoinHostPort(addr, "0"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			c, err := newEgress(&net.Dialer{}, addrs(addr)).dial(t.Context(), "tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			raw, err := c.(*net.TCPConn).SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			late := 0
			if e := raw.Control(func(fd uintptr) { late, err = unix.GetsockoptInt(int(fd), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT) }); e != nil || err != nil {
				t.Fatal(e, err)
			}
			if late != 1 {
				t.Error("the port was chosen when the socket was bound")
			}
		})
	}
}
