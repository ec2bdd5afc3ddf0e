package webhook

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// bindLate has the kernel choose the port when the connection is made. Chosen
// when the socket is bound, with the target not known yet, a port serves one
// connection only, whatever its target, and an address has some 28,000 of them.
// Failure policy: go on, with just that.
func bindLate(c syscall.RawConn) {
	_ = c.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
}
