package client

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/api"
	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/service"
	"github.com/hobworks/hob/internal/servicelog"
	"github.com/hobworks/hob/internal/store"
)

// patience bounds every wait: far above what anything takes.
const patience = 30 * time.Second

// project is one that no daemon ever ran for, in temporary directories. HOB_DAEMON is a program
// that leaves a trace: nothing here may start a daemon.
type project struct {
	t     *testing.T
	dir   string
	inst  instance.Instance
	trace string
}

func newProject(t *testing.T) *project {
	t.Helper()
	// Short, and not the test's name: it goes into commands and messages.
	base, err := os.MkdirTemp("", "hob-c-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	base, err = filepath.EvalSymlinks(base)
	require.NoError(t, err)
	p := &project{t: t, dir: filepath.Join(base, "project"), trace: filepath.Join(base, "trace")}
	require.NoError(t, os.Mkdir(p.dir, 0o755))
	hobd := filepath.Join(base, "hobd")
	require.NoError(t, os.WriteFile(hobd, []byte("#!/bin/sh\n[ \"$1\" = --version ] || echo started >>"+p.trace+"\nexit 7\n"), 0o755))
	for name, value := range map[string]string{"HOB_STATE_DIR": filepath.Join(base, "state"), "HOB_PROJECT": p.dir,
		"HOB_DAEMON": hobd, "HOB_NO_SPAWN": "", "NO_COLOR": "", "FORCE_COLOR": ""} {
		t.Setenv(name, value)
	}
	root, err := instance.OpenRoot(p.dir)
	require.NoError(t, err)
	p.inst, err = instance.New(root, "")
	require.NoError(t, err)
	return p
}

// hob calls hob as main would.
func (p *project) hob(args ...string) (code int, stdout, stderr string) { return call(args...) }

func call(args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = Main(args, &out, &err)
	return code, out.String(), err.String()
}

// document decodes what --json printed.
func (p *project) document(code int, args ...string) (d document) {
	p.t.Helper()
	got, stdout, stderr := p.hob(append(args, "--json")...)
	require.Equal(p.t, code, got, "%s%s", stdout, stderr)
	require.NoError(p.t, json.Unmarshal([]byte(stdout), &d), stdout)
	return d
}

func (p *project) failure(code int, args ...string) api.Error {
	p.t.Helper()
	got, stdout, stderr := p.hob(append(args, "--json")...)
	require.Equal(p.t, code, got, "%s%s", stdout, stderr)
	var d api.ErrorDocument
	require.NoError(p.t, json.Unmarshal([]byte(stdout), &d), stdout)
	return d.Error
}

// save writes the state of a service as a daemon would.
func (p *project) save(st service.Status) {
	p.t.Helper()
	p.makeDir()
	s, err := store.New(p.inst)
	require.NoError(p.t, err)
	st.Cmd, st.Dir, st.Source = []string{"sleep", "1000"}, p.dir, service.SourceRun
	require.NoError(p.t, s.Save(st))
}

func status1(name string, state service.State, want service.Want) service.Status {
	return service.Status{Spec: service.Spec{Name: name}, State: state, Want: want, Generation: 1}
}

func (p *project) makeDir() {
	p.t.Helper()
	state, err := p.inst.OpenState(true)
	require.NoError(p.t, err)
	defer state.Close()
	dir, err := p.inst.OpenDir(state, true)
	require.NoError(p.t, err)
	defer dir.Close()
	for _, name := range []string{instance.LogsName, instance.FIFOName} {
		sub, err := instance.OpenSub(dir, name, true)
		require.NoError(p.t, err)
		sub.Close()
	}
}

// logWriter writes the log of a service, as hobd and the service would.
type logWriter struct {
	t   *testing.T
	w   *servicelog.Writer
	out *os.File
}

func (p *project) log(name string) *logWriter {
	p.t.Helper()
	p.makeDir()
	w, err := servicelog.Open(servicelog.Options{Dir: p.inst.Path(instance.LogsName, name), FIFO: p.inst.Path(instance.FIFOName, name)})
	require.NoError(p.t, err)
	out, err := w.Output()
	require.NoError(p.t, err)
	p.t.Cleanup(func() { out.Close(); w.Close() })
	return &logWriter{t: p.t, w: w, out: out}
}

// say writes, and returns when it is in the log.
func (l *logWriter) say(text string) {
	l.t.Helper()
	_, err := l.out.WriteString(text)
	require.NoError(l.t, err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(l.t, l.w.Drain(ctx))
}

// untouched fails the test when a daemon was started.
func (p *project) untouched() {
	p.t.Helper()
	require.NoFileExists(p.t, p.trace, "a daemon was started")
}
