package client

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/hobworks/hob"
	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/service"
	"github.com/hobworks/hob/internal/store"
)

// start is the directory that the search for the project begins in, and who named it: -C beats
// HOB_PROJECT beats the working directory.
func (a *app) start() (dir, by string) {
	if a.dir != "" {
		return a.dir, "-C"
	}
	if dir := os.Getenv("HOB_PROJECT"); dir != "" {
		return dir, "HOB_PROJECT"
	}
	return ".", ""
}

// project finds the project.
func (a *app) project() (instance.Root, error) {
	dir, by := a.start()
	root, err := instance.FindRoot(dir)
	var owner *instance.OwnerError
	if by != "" && errors.As(err, &owner) {
		// Somebody else's marker decides nothing. A directory that was named is taken as it is.
		root, err = instance.OpenRoot(dir)
	}
	if err != nil {
		return root, &hob.Error{Code: "no_project", Message: err.Error(), Hint: hintOf(err), Err: err}
	}
	return root, nil
}

// workDir is the directory that a service runs in: the caller's, or that of -C. It is the
// physical one, so that it means the same whatever way led there.
func (a *app) workDir() (string, error) {
	dir := a.dir
	if dir == "" {
		dir = "."
	}
	root, err := instance.OpenRoot(dir)
	if err != nil {
		return "", &hob.Error{Code: "no_project", Message: err.Error(), Err: err}
	}
	return root.Path, nil
}

// environ is the environment, as far as JSON can carry it. The first call says what is left out.
func (a *app) environ() []string {
	quiet := a.leftOut.Swap(true)
	return slices.DeleteFunc(os.Environ(), func(kv string) bool {
		if utf8.ValidString(kv) {
			return false
		}
		if name, _, _ := strings.Cut(kv, "="); !quiet {
			a.words("hob: the variable %s is left out: it is not UTF-8", strconv.QuoteToASCII(name))
		}
		return true
	})
}

// instance is the project's instance, for what is read from disk.
func (a *app) instance() (instance.Instance, error) {
	root, err := a.project()
	if err != nil {
		return instance.Instance{}, err
	}
	inst, err := instance.New(root, "")
	if err != nil {
		return inst, &hob.Error{Code: "no_state_dir", Message: err.Error(), Err: err,
			Hint: "set HOB_STATE_DIR to an absolute path of a directory of yours"}
	}
	return inst, nil
}

// disk reads the services as they were last written.
func (a *app) disk() (instance.Instance, []service.Status, error) {
	inst, err := a.instance()
	if err != nil {
		return inst, nil, err
	}
	all, err := store.Read(inst)
	return inst, all, err
}

// daemonProgram is hobd: HOB_DAEMON, else what lies beside this program, else a name for PATH.
func daemonProgram() string {
	if path := os.Getenv("HOB_DAEMON"); path != "" {
		return path
	}
	if self, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(self); err == nil {
			beside := filepath.Join(filepath.Dir(real), "hobd")
			if fi, err := os.Stat(beside); err == nil && fi.Mode().IsRegular() {
				return beside
			}
		}
	}
	return "hobd"
}

// wanted reports whether the environment variable is set to something that means yes.
func wanted(name string) bool {
	v := os.Getenv(name)
	return v != "" && v != "0" && v != "false"
}
