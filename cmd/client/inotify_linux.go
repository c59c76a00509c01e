package client

import (
	"os"
	"strconv"
	"strings"
)

// inotify looks at the limits that hobd and "hob logs -f" live under. Without inotify both
// work, but look every now and then instead.
func (l *factList) inotify() {
	for _, limit := range []struct {
		name string
		low  int
	}{{"max_user_instances", 64}, {"max_user_watches", 4096}} {
		data, err := os.ReadFile("/proc/sys/fs/inotify/" + limit.name)
		if err != nil {
			continue
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(data)))
		if err == nil && n < limit.low {
			l.bad("inotify", "raise it: sysctl fs.inotify."+limit.name+"="+strconv.Itoa(2*limit.low), "%s is %d, low", limit.name, n)
		}
	}
}
