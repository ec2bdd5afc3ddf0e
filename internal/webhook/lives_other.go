//go:build !unix

package webhook

import "time"

// idleTrust is how long a connection is trusted that nobody has used: servers
// close theirs after a few seconds, and who then sends on one gets no answer.
const idleTrust = time.Second

// lives says whether a connection that nobody uses may be used again. Here there
// is no looking, and the answer depends on how long nobody has.
func (c *conn) lives() bool { return time.Since(c.since) < idleTrust }
