package process

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func readBootID() (string, error) {
	id, err := unix.Sysctl("kern.bootsessionuuid")
	if err != nil {
		return "", fmt.Errorf("read boot id: %w", err)
	}
	return id, nil
}

// PidNamespace returns 0: darwin has one.
func PidNamespace() (uint64, error) { return 0, nil }

func stat(pid int) (Info, error) {
	k, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	// For a pid that is not there the kernel answers with nothing, which x/sys reports as EIO.
	if err == unix.EIO || err == unix.ESRCH || err == nil && int(k.Proc.P_pid) != pid {
		return Info{}, fmt.Errorf("stat pid %d: %w", pid, os.ErrNotExist)
	}
	if err != nil {
		return Info{}, fmt.Errorf("stat pid %d: %w", pid, err)
	}
	return infoOf(k), nil
}

func infoOf(k *unix.KinfoProc) Info {
	info := Info{
		Pid:     int(k.Proc.P_pid),
		PPid:    int(k.Eproc.Ppid),
		Group:   int(k.Eproc.Pgid),
		State:   stateLetter(k.Proc.P_stat),
		Command: unix.ByteSliceToString(k.Proc.P_comm[:]),
		Start:   uint64(k.Proc.P_starttime.Sec)*1e6 + uint64(k.Proc.P_starttime.Usec),
	}
	info.Session, _ = unix.Getsid(info.Pid) // 0, which is nobody's session, where it may not be known
	return info
}

// stateLetter translates SIDL … SZOMB of sys/proc.h.
func stateLetter(stat int8) byte {
	const letters = "?IRSTZ"
	if stat < 0 || int(stat) >= len(letters) {
		return '?'
	}
	return letters[stat]
}

func processes() ([]Info, error) {
	procs, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	all := make([]Info, 0, len(procs))
	for i := range procs {
		all = append(all, infoOf(&procs[i]))
	}
	return all, nil
}

// environ reads kern.procargs2: argc, the path, padding, argc arguments, then the environment.
func environ(pid int) []byte {
	b, err := unix.SysctlRaw("kern.procargs2", pid)
	if err != nil || len(b) < 4 {
		return nil
	}
	argc := int(binary.NativeEndian.Uint32(b))
	_, rest, ok := bytes.Cut(b[4:], []byte{0})
	rest = bytes.TrimLeft(rest, "\x00")
	for ; ok && argc > 0; argc-- {
		_, rest, ok = bytes.Cut(rest, []byte{0})
	}
	if !ok {
		return nil
	}
	return rest
}
