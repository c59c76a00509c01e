//go:build linux

package chaos

import "golang.org/x/sys/unix"

// noSpace is what a client may fail with where the disk is full: it says so.
var noSpace = []string{"no space left on device", "ENOSPC"}

// kinds are the projects. Each is there for another guess of the witness: see files.
var kinds = []*kind{
	{name: "killed", copies: 6, racers: 1, files: untended, faults: []fault{
		{"SIGKILL of hobd", 6, send(unix.SIGKILL)},
		{"SIGKILL of hobd and of the next one as it starts", 2, killStarting},
		{"SIGKILL of a client that starts hobd", 1, killClient},
		{"SIGSTOP and SIGCONT of hobd", 14, pauseDaemon},
		{"no descriptors (EMFILE)", 7, starve},
	}},
	{name: "stopped", copies: 4, racers: 1, files: kept, faults: []fault{
		{"SIGTERM of hobd", 4, send(unix.SIGTERM)},
		{"hob daemon stop", 3, stopByCall("hob.stop")},
		{"hob daemon restart", 2, stopByCall("hob.retire")},
		{"SIGKILL of hobd", 2, send(unix.SIGKILL)},
		{"SIGSTOP and SIGCONT of hobd", 14, pauseDaemon},
		{"no descriptors (EMFILE)", 4, starve},
		{"upgrade in place", 1, upgrade},
	}},
	{name: "robbed", copies: 5, racers: 1, faults: []fault{
		{"rm of the lock", 4, remove("LOCK")},
		{"rm of the lock of a stopped hobd", 4, fence},
		{"rm of the socket", 4, remove("hob.sock")},
		{"rm of the pid file", 4, remove("hob.pid")},
		{"rm of lock and socket of a stopped hobd", 1, robbed},
		{"rm of lock, socket and pid file", 3, remove("LOCK", "hob.sock", "hob.pid")},
		{"rm of the directory", 3, remove(".")},
		{"rm of everything", 1, remove(".", "LOCK")},
		{"rm of everything and SIGKILL", 1, removeAndKill(".", "LOCK")},
		{"rm of the lock and SIGKILL", 1, removeAndKill("LOCK")},
		{"forged pid file", 2, forge},
		{"SIGSTOP and SIGCONT of hobd", 8, pauseDaemon},
		{"no descriptors (EMFILE)", 5, starve},
	}},
	{name: "serving", racers: 1, files: kept, faults: []fault{
		{"SIGKILL of hobd with services", 4, send(unix.SIGKILL)},
		{"SIGKILL of the sentry", 3, killSentry},
		{"SIGKILL of hobd and sentry", 2, killBoth},
		{"SIGSTOP and SIGCONT of hobd", 5, pauseDaemon},
		{"SIGSTOP and SIGCONT of the sentry", 5, pauseSentry},
		{"SIGTERM of hobd with services", 1, restart},
		{"upgrade in place", 2, upgrade},
		{"SIGKILL in an upgrade", 2, killUpgrading},
		{"SIGKILL of a service", 2, killService(false)},
		{"SIGKILL of a service and of hobd", 1, killService(true)},
	}, toml: "[services.writer]\nrun = [WRITER, '10ms']\nlog = { max = '10GB' }\n[services.crasher]\nrun = [WRITER, '20ms']\n"},
	{name: "wiped", racers: 1, faults: []fault{
		{"rm of a service's state", 3, removeQuietly("state/writer.json")},
		{"rm of a service's state and SIGKILL", 2, removeAndKill("state")},
		{"rm of a service's lock and SIGKILL", 2, removeAndKill("svc/writer.lock")},
		{"rm of a service's FIFO and SIGKILL", 1, removeAndKill("fifo/writer")},
		{"rm of the sentry's files", 2, removeQuietly("sentry.sock", "sentry.pid")},
		{"rm of logs", 1, removeQuietly("log", "hobd.log")},
		{"rm of the directory, with services", 2, remove(".")},
		{"rm of everything, with services", 1, remove(".", "LOCK")},
		{"SIGSTOP and SIGCONT of hobd", 3, pauseDaemon},
	}, toml: "[services.writer]\nrun = [WRITER, '20ms']\n"},
	{name: "full", racers: 1, disk: "size=1m,nr_inodes=60", refused: noSpace, faults: []fault{
		{"full disk", 2, full(false, false)},
		{"full disk and SIGKILL", 1, full(false, true)},
		{"no inodes", 2, full(true, false)},
		{"no inodes and SIGKILL", 1, full(true, true)},
	}},
	{name: "slow", racers: 1, files: kept, strace: []string{"flock", "unlinkat", "renameat", "renameat2", "bind", "listen", "openat", "fstat", "newfstatat", "write",
		"connect", "accept4", "exit_group"}, faults: []fault{
		{"delays at system calls, SIGKILL", 3, untraced(send(unix.SIGKILL))},
		{"delays at system calls, SIGTERM", 3, untraced(send(unix.SIGTERM))},
		{"delays at system calls, hob daemon stop", 2, untraced(stopByCall("hob.stop"))},
		{"delays at system calls, SIGSTOP and SIGCONT", 2, pauseDaemon},
	}},
	{name: "slow-serving", files: kept, strace: []string{"pwrite64", "pwrite64", "splice", "flock", "renameat", "openat"}, faults: []fault{
		{"delays at system calls, SIGKILL with services", 6, untraced(send(unix.SIGKILL))},
		{"delays at system calls, SIGKILL of hobd and sentry", 2, untraced(killBoth)},
		{"delays at system calls, SIGKILL of the sentry", 1, untraced(killSentry)},
	}, toml: "[services.writer]\nrun = [WRITER, '2ms']\nlog = { max = '10GB' }\n"},
	{name: "idle", files: kept, faults: []fault{
		{"idle exit beside a lease", 1, lease},
	}, setUp: func(p *project) error { return p.configure("[daemon]\nidle_exit = '60ms'\n") }},
}
