package process

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// pathWithoutPATH is what execvp(3) searches where PATH is not set at all.
const pathWithoutPATH = "/bin:/usr/bin"

// LookPath returns the absolute path of the executable that name means to a process with the environment env
// ("K=V", the last PATH counts) and the working directory dir; the PATH of the calling process plays no part.
// A name with a slash counts from dir and is not searched for. An empty or relative entry of PATH counts from dir,
// as it would in a shell there. An empty dir is the current directory.
//
// The error is an *exec.Error that wraps exec.ErrNotFound, or for a name that was found and may not be executed
// fs.ErrPermission, or for a path the reason of stat.
func LookPath(name, dir string, env []string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", &exec.Error{Name: name, Err: err}
	}
	from := func(path string) string {
		if filepath.IsAbs(path) {
			return filepath.Clean(path)
		}
		return filepath.Join(dir, path)
	}
	if name == "" {
		return "", &exec.Error{Name: name, Err: exec.ErrNotFound}
	}
	if strings.Contains(name, "/") {
		if err := executable(from(name)); err != nil {
			return "", &exec.Error{Name: name, Err: err}
		}
		return from(name), nil
	}
	reason := exec.ErrNotFound
	for _, entry := range filepath.SplitList(searchPath(env)) {
		file := filepath.Join(from(entry), name)
		err := executable(file)
		if err == nil {
			return file, nil
		}
		// As execvp(3): one that is there and may not be executed is the better reason, if no other is found.
		if errors.Is(err, fs.ErrPermission) {
			reason = &fs.PathError{Op: "exec", Path: file, Err: err}
		}
	}
	return "", &exec.Error{Name: name, Err: reason}
}

func searchPath(env []string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if path, ok := strings.CutPrefix(env[i], "PATH="); ok {
			if path == "" {
				return "." // one empty entry; SplitList would make it none
			}
			return path
		}
	}
	return pathWithoutPATH
}

// executable returns nil when the file could be given to execve(2) by this user, as far as can be seen without doing it.
func executable(file string) error {
	st, err := os.Stat(file)
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		return pe.Err // the caller names it
	}
	if err != nil {
		return err
	}
	if st.IsDir() {
		return syscall.EISDIR
	}
	if st.Mode()&0o111 == 0 {
		return fs.ErrPermission
	}
	// Sees access lists, file systems mounted noexec and the effective uid, where the mode does not.
	return unix.Faccessat(unix.AT_FDCWD, file, unix.X_OK, unix.AT_EACCESS)
}
