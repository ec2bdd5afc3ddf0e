//go:build unix

package webhook

import (
	"crypto/tls"
	"errors"
	"syscall"
)

// lives says whether a connection that nobody uses may be used again: the other
// side has not closed it, and has said nothing that nobody asked for.
func (c *conn) lives() bool {
	under := c.Conn
	if over, ok := under.(*tls.Conn); ok {
		under = over.NetConn()
	}
	socket, ok := under.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	var quiet bool
	err = raw.Read(func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		quiet = errors.Is(err, syscall.EAGAIN)
		return true // it does not wait
	})
	return err == nil && quiet
}
