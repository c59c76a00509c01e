package client

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/service"
	"github.com/hobworks/hob/internal/store"
)

// TestLookingCreatesNothing: what only asks leaves no trace in an empty home.
func TestLookingCreatesNothing(t *testing.T) {
	p := newProject(t)
	for _, c := range []struct {
		code int
		args []string
	}{
		{0, []string{}}, {0, []string{"ps"}}, {0, []string{"status"}}, {4, []string{"ps", "web"}}, {4, []string{"stop", "web"}},
		{0, []string{"logs"}}, {4, []string{"logs", "web"}}, {4, []string{"wait", "web"}}, {0, []string{"down"}},
		{3, []string{"daemon", "status"}}, {3, []string{"daemon", "ping"}}, {0, []string{"daemon", "stop"}}, {0, []string{"daemon", "log"}},
		{0, []string{"list"}}, {0, []string{"ls"}}, {0, []string{"prune"}}, {0, []string{"version"}}, {4, []string{"start", "web"}},
		{4, []string{"restart", "web"}}, {4, []string{"rm", "web"}}, {4, []string{"kill", "-s", "HUP", "web"}},
		{3, []string{"daemon", "start", "--no-spawn"}}, {3, []string{"run", "--no-spawn", "--", "true"}}, {1, []string{"doctor"}},
	} {
		code, stdout, stderr := p.hob(c.args...)
		require.Equal(t, c.code, code, "%q: %s%s", c.args, stdout, stderr)
		require.NoDirExists(t, p.inst.State, "%q", c.args)
	}
	p.untouched()
	require.NotNil(t, p.document(0, "ps").Services, "an empty list is a list")
}

// TestPsShowsWhatWasLastWritten: without a daemon ps reads the disk; what ran before the machine
// was started is stopped.
func TestPsShowsWhatWasLastWritten(t *testing.T) {
	p := newProject(t)
	web := status1("web", service.Running, service.Up)
	web.Pid, web.Boot, web.StartedAt = 4242, "an earlier boot", time.Now().Add(-time.Hour)
	p.save(web)
	job := status1("job", service.Failed, service.Up)
	job.Exit, job.Why = &service.Exit{Code: 3, At: time.Now()}, "exit 3"
	p.save(job)

	d := p.document(0, "ps")
	require.Equal(t, "absent", d.Daemon.State)
	require.Equal(t, p.dir, d.Daemon.Project)
	require.Len(t, d.Services, 2)
	require.Equal(t, "stopped", d.Services[1].State)
	require.Equal(t, "reboot", d.Services[1].Why)
	require.Zero(t, d.Services[1].Pid)

	one := p.document(0, "ps", "job")
	require.Equal(t, "failed", one.Service.State)
	require.Equal(t, 3, one.Service.Exit.Code)
	require.Equal(t, "no_such_service", p.failure(4, "ps", "nope").Code)

	_, stdout, _ := p.hob()
	require.Equal(t, "SERVICE  STATE    PID  UP  RESTARTS  CPU  MEM  ADDR  WHY\n"+
		"job      failed   -    -   0         -    -    -     exit 3\n"+
		"web      stopped  -    -   0         -    -    -     reboot\n", stdout)
	_, stdout, _ = p.hob("ps", "job")
	require.Contains(t, stdout, "command     sleep 1000\n")
	require.Contains(t, stdout, "last exit   exit 3 at ")
	p.untouched()
}

// TestPsStartsADaemonOnlyForWhatWantsToBeUp: and never with --no-spawn or HOB_NO_SPAWN.
func TestPsStartsADaemonOnlyForWhatWantsToBeUp(t *testing.T) {
	p := newProject(t)
	web := status1("web", service.Running, service.Up)
	web.Pid, web.Boot = 1<<22+1, store.BootID()
	require.NotEmpty(t, web.Boot)
	for _, st := range []service.Status{status1("a", service.Stopped, service.Up), status1("b", service.Failed, service.Up), status1("c", service.Done, service.Up)} {
		p.save(st)
	}
	leaving := status1("d", service.Stopping, service.Down)
	leaving.Boot = store.BootID()
	p.save(leaving)
	p.document(0, "ps")
	p.untouched()

	p.save(web)
	d := p.document(0, "ps", "--no-spawn")
	require.Equal(t, "running", d.Services[4].State)
	require.Contains(t, d.Services[4].Why, "hobd is not running")
	t.Setenv("HOB_NO_SPAWN", "1")
	p.document(0, "ps", "web")
	require.Equal(t, "not_running", p.failure(3, "stop", "web").Code)
	p.untouched()

	t.Setenv("HOB_NO_SPAWN", "0")
	require.Equal(t, "start_failed", p.failure(1, "ps").Code, "the hobd of this test only leaves a trace")
	require.FileExists(t, p.trace)
}

// TestStopMakesSureOfWhatMayLive: a stop that was under way when hobd was killed is finished.
func TestStopMakesSureOfWhatMayLive(t *testing.T) {
	p := newProject(t)
	p.save(status1("db", service.Stopped, service.Down))
	code, _, stderr := p.hob("stop", "db")
	require.Zero(t, code)
	require.Equal(t, "db: not running\n", stderr)
	require.Equal(t, "stopped", p.document(0, "stop", "db").Service.State)
	p.untouched()
	web := status1("web", service.Stopping, service.Down)
	web.Boot = store.BootID()
	p.save(web)
	p.failure(1, "stop", "web")
	require.FileExists(t, p.trace)
}

func TestWaitForWhatEndedNeedsNoDaemon(t *testing.T) {
	p := newProject(t)
	job := status1("job", service.Failed, service.Up)
	job.Exit = &service.Exit{Code: 137, Signal: "SIGKILL", At: time.Now()}
	p.save(job)
	p.save(status1("never", service.Stopped, service.Down))
	require.Equal(t, 137, p.document(137, "wait", "job", "--for", "exit").Service.Exit.Code)
	require.Equal(t, "not_running", p.failure(3, "wait", "job").Code)
	p.document(0, "wait", "never", "--for", "exit")
	p.untouched()
}

func TestDoctorSaysWhatIsWrongAndWhatToDo(t *testing.T) {
	p := newProject(t)
	p.save(status1("web", service.Stopped, service.Down))
	require.NoError(t, os.WriteFile(p.inst.Path(instance.SocketName), []byte("not a socket"), 0o600))
	require.NoError(t, os.Chmod(p.inst.Path(), 0o755))
	code, stdout, _ := p.hob("doctor")
	require.Equal(t, 1, code)
	require.Regexp(t, `(?m)^!!  directory +.*open to others: mode 0755\n +→ chmod go= `, stdout)
	require.Regexp(t, `(?m)^!!  socket +.*something else`, stdout)
	require.Regexp(t, `(?m)^!!  hobd program .*\n +→ name the right one with HOB_DAEMON`, stdout)
	require.Regexp(t, `(?m)^ok  project +`+p.dir+`$`, stdout)
	require.Regexp(t, `(?m)^ok  found by +.*from HOB_PROJECT`, stdout)
}

// TestPruneRemovesOnlyWhatHasNoProject: a directory that exists, or that says nothing, is kept.
func TestPruneRemovesOnlyWhatHasNoProject(t *testing.T) {
	p := newProject(t)
	write := func(project string) string {
		root, err := instance.OpenRoot(project)
		require.NoError(t, err)
		inst, err := instance.New(root, "")
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(inst.Dir(), 0o700))
		require.NoError(t, os.WriteFile(inst.Path(instance.MetaName), []byte(`{"project":"`+project+`","id":"`+inst.ID+`","pid":1}`), 0o600))
		return inst.Dir()
	}
	gone := filepath.Join(filepath.Dir(p.dir), "gone")
	require.NoError(t, os.Mkdir(gone, 0o755))
	kept, removed := write(p.dir), write(gone)
	require.NoError(t, os.Remove(gone))
	silent := filepath.Join(p.inst.State, "instance-0123456789abcdef")
	require.NoError(t, os.Mkdir(silent, 0o700))

	_, stdout, _ := p.hob("list")
	require.Regexp(t, `(?m)^PROJECT +NAME +STATE +PID +SERVICES +AGE$`, stdout)
	require.Regexp(t, `(?m)^`+gone+` +- +project is gone +- +0$`, stdout)
	require.Regexp(t, `(?m)^`+p.dir+` +- +absent +- +0$`, stdout)

	code, _, stderr := p.hob("prune")
	require.Zero(t, code)
	require.Equal(t, gone+": removed\n", stderr)
	require.NoDirExists(t, removed)
	require.DirExists(t, kept)
	require.DirExists(t, silent)
}
