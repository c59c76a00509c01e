//go:build linux

package e2e

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// lastPort begins anywhere, for the sake of other processes that test.
var lastPort = func() *atomic.Uint32 {
	var n atomic.Uint32
	n.Store(rand.Uint32N(1 << 20))
	return &n
}()

// freePort is an address that nobody listens on, and that nobody else here is given: services bind it late, and again and again. Port 0 and
// connect(2) draw from ip_local_port_range, which begins above these.
func freePort(t *testing.T) string {
	t.Helper()
	const first, count = 12000, 20000
	for range count {
		port := first + lastPort.Add(1)%count
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			continue
		}
		require.NoError(t, l.Close())
		return fmt.Sprintf("127.0.0.1:%d", port)
	}
	require.Fail(t, "no port is free")
	return ""
}
