package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/service"
)

func TestSavedIsLoaded(t *testing.T) {
	s, inst := newStore(t)
	web, db := status("web", "A=1", "B=x\ny"), status("db", "A=1")
	web.Exit = &service.Exit{Code: 143, Signal: "SIGTERM"}
	web.LogStart = service.LogMark{Segment: 3, Offset: 1 << 40}
	save(t, s, web, db)

	again, err := New(inst) // the next hobd
	require.NoError(t, err)
	all, bad := load(t, again)
	require.Empty(t, bad)
	web.EnvHash, db.EnvHash = hash(web.Env), hash(db.Env)
	require.Equal(t, []service.Status{db, web}, all)

	web.State, web.Pid = service.Stopped, 0
	save(t, s, web)
	all, _ = load(t, again)
	require.Equal(t, []service.Status{db, web}, all)
}

// TestVariablesOfTheFileAreStoredApart: what the file sets is kept beside the client's environment, and both
// are read by whoever needs them, and only by those.
func TestVariablesOfTheFileAreStoredApart(t *testing.T) {
	s, inst := newStore(t)
	web := status("web", "A=1")
	web.Set = []string{"DATABASE_URL=secret"}
	save(t, s, web)
	all, bad := load(t, s)
	require.Empty(t, bad)
	require.Equal(t, web.Env, all[0].Env)
	require.Equal(t, web.Set, all[0].Set)
	read, err := Read(inst)
	require.NoError(t, err)
	require.Nil(t, read[0].Env)
	require.Nil(t, read[0].Set)
	read, err = ReadAll(inst)
	require.NoError(t, err)
	require.Equal(t, all, read)

	web.Set, web.SetHash = nil, "" // the file does not set it any more
	save(t, s, web)
	all, _ = load(t, s)
	require.Nil(t, all[0].Set)
	require.NoError(t, s.Delete("web"))
	names, err := os.ReadDir(inst.Path(instance.EnvName))
	require.NoError(t, err)
	require.Empty(t, names)
}

func TestServicesAreListedByName(t *testing.T) {
	s, inst := newStore(t)
	save(t, s, status("web-1"), status("b"), status("web"), status("web.x"), status("B"))
	all, err := Read(inst)
	require.NoError(t, err)
	require.Equal(t, []string{"B", "b", "web", "web-1", "web.x"}, serviceNames(all))
}

// TestSaveOfAStatusWithoutEnvironmentKeepsTheOldOne: a status that came back from Load with a lost
// environment must not lose its place.
func TestSaveOfAStatusWithoutEnvironmentKeepsTheOldOne(t *testing.T) {
	s, _ := newStore(t)
	web := status("web", "A=1")
	save(t, s, web)
	web.EnvHash, web.Env = hash(web.Env), nil
	save(t, s, web)
	all, bad := load(t, s)
	require.Empty(t, bad)
	require.Equal(t, []string{"A=1"}, all[0].Env)
}

func TestEnvironmentIsStoredOnceAndClosedToOthers(t *testing.T) {
	s, inst := newStore(t)
	save(t, s, status("a", "SECRET=1"), status("b", "SECRET=1"), status("c", "SECRET=2"))
	list := files(t, inst, instance.EnvName)
	require.Len(t, list, 2)
	for _, name := range list {
		fi, err := os.Lstat(inst.Path(instance.EnvName, name))
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), fi.Mode())
		require.NotContains(t, name, "SECRET")
	}
	for _, name := range files(t, inst, instance.StateName) {
		data, err := os.ReadFile(inst.Path(instance.StateName, name))
		require.NoError(t, err)
		require.NotContains(t, string(data), "SECRET")
	}
	for _, dir := range []string{"", instance.StateName, instance.EnvName} {
		fi, err := os.Stat(inst.Path(dir))
		require.NoError(t, err)
		require.Equal(t, fs.ModeDir|0o700, fi.Mode())
	}
	one, err := os.Stat(inst.Path(instance.EnvName, list[0]))
	require.NoError(t, err)
	save(t, s, status("a", "SECRET=1"), status("a", "SECRET=2"))
	same, err := os.Stat(inst.Path(instance.EnvName, list[0]))
	require.NoError(t, err)
	require.True(t, os.SameFile(one, same), "an environment that is there is not written again")
}

// broken are the ways in which a state file can be no state of "web".
var broken = map[string]func(path string) error{
	"empty":        func(p string) error { return os.WriteFile(p, nil, 0o600) },
	"garbage":      func(p string) error { return os.WriteFile(p, []byte("\x00\xff{"), 0o600) },
	"half":         func(p string) error { return os.WriteFile(p, []byte(`{"name":"web","cmd":["sl`), 0o600) },
	"null":         func(p string) error { return os.WriteFile(p, []byte("null"), 0o600) },
	"another name": func(p string) error { return os.WriteFile(p, []byte(`{"name":"db","cmd":["x"]}`), 0o600) },
	"no command":   func(p string) error { return os.WriteFile(p, []byte(`{"name":"web"}`), 0o600) },
	"wrong types":  func(p string) error { return os.WriteFile(p, []byte(`{"name":"web","cmd":"x"}`), 0o600) },
	"huge":         func(p string) error { return errors.Join(os.WriteFile(p, nil, 0o600), os.Truncate(p, maxState+1)) },
	"a directory":  func(p string) error { return os.Mkdir(p, 0o700) },
	"a FIFO":       func(p string) error { return unix.Mkfifo(p, 0o600) },
	"a symlink":    func(p string) error { return os.Symlink("db.json", p) },
}

// TestUnreadableStateIsSetAside and never stops the others.
func TestUnreadableStateIsSetAside(t *testing.T) {
	for what, put := range broken {
		s, inst := newStore(t)
		save(t, s, status("db", "A=1"), status("zoo"))
		path := inst.Path(instance.StateName, "web.json")
		for n := 1; n <= 2; n++ { // a second time: the first is not overwritten
			require.NoError(t, put(path), what)
			read, err := Read(inst)
			require.NoError(t, err, what)
			require.Equal(t, []string{"db", "zoo"}, serviceNames(read), what)

			all, bad := load(t, s)
			require.Equal(t, []string{"db", "zoo"}, serviceNames(all), what)
			require.Equal(t, []string{"A=1"}, all[0].Env, what)
			require.Len(t, bad, 1, what)
			require.ErrorContains(t, bad[0], path, what)
			_, err = os.Lstat(path)
			require.ErrorIs(t, err, fs.ErrNotExist, what)
			_, err = os.Lstat(fmt.Sprintf("%s.bad-%d", path, n))
			require.NoError(t, err, what)
		}
		all, bad := load(t, s)
		require.Len(t, all, 2, what)
		require.Empty(t, bad, "what was set aside is not reported again")
		save(t, s, status("web"))
		all, _ = load(t, s)
		require.Len(t, all, 3, what)
	}
}

// TestFilesOfNoServiceAreIgnored, whatever their names hold, and stay where they are.
func TestFilesOfNoServiceAreIgnored(t *testing.T) {
	s, inst := newStore(t)
	save(t, s, status("web"))
	odd := []string{".json", "-rf.json", "a..b.json", "a b.json", "a\nb.json", "\xff\xfe.json", "\x1b[31m.json", ".hidden.json", "web.json.bad-7",
		"README", strings.Repeat("x", 65) + ".json", strings.Repeat("x", 250) + ".json", strings.Repeat("x", 255)}
	for _, name := range odd {
		if err := os.WriteFile(inst.Path(instance.StateName, name), []byte(`{"name":"../../x","cmd":["x"]}`), 0o600); err != nil {
			t.Logf("not on this file system: %q: %v", name, err)
		}
	}
	before := files(t, inst, instance.StateName)
	read, err := Read(inst)
	require.NoError(t, err)
	require.Equal(t, []string{"web"}, serviceNames(read))
	all, bad := load(t, s)
	require.Equal(t, []string{"web"}, serviceNames(all))
	require.Empty(t, bad)
	require.Equal(t, before, files(t, inst, instance.StateName))
}

// TestNextStoreKeepsServicesWithTemporaryLookingNames: the sweep of New once took them for debris.
func TestNextStoreKeepsServicesWithTemporaryLookingNames(t *testing.T) {
	s, inst := newStore(t)
	names := []string{"web.json.new-1-1", "web.new-1", "web.new-1-2", "x.new-"}
	for _, name := range names {
		require.NoError(t, service.CheckName(name))
		save(t, s, status(name, "A="+name))
	}
	debris := inst.Path(instance.StateName, "web.json.new-17-3")
	require.NoError(t, os.WriteFile(debris, []byte("{"), 0o600))
	again, err := New(inst)
	require.NoError(t, err)
	all, bad := load(t, again)
	require.Empty(t, bad)
	require.Equal(t, names, serviceNames(all))
	require.NoFileExists(t, debris)
}

func TestLostEnvironmentIsReportedAndTheServiceLoaded(t *testing.T) {
	for what, lose := range map[string]func(path string) error{
		"removed": os.Remove,
		"replaced by a FIFO": func(p string) error {
			return errors.Join(os.Remove(p), unix.Mkfifo(p, 0o600))
		},
		"torn": func(p string) error { return os.Truncate(p, 1) },
	} {
		s, inst := newStore(t)
		web := status("web", "A=1")
		save(t, s, web, status("db", "A=2"))
		require.NoError(t, lose(inst.Path(instance.EnvName, hash(web.Env))))
		all, bad := load(t, s)
		require.Equal(t, []string{"db", "web"}, serviceNames(all), what)
		require.Equal(t, []string{"A=2"}, all[0].Env, what)
		require.Empty(t, all[1].Env, what)
		require.Len(t, bad, 1, what)
		require.ErrorContains(t, bad[0], "environment of web: ", what)
		save(t, s, web) // whoever starts it again brings one
		all, bad = load(t, s)
		require.Empty(t, bad, what)
		require.Equal(t, []string{"A=1"}, all[1].Env, what)
	}
}

func TestReadOfNothingCreatesNothing(t *testing.T) {
	inst := newInstance(t)
	all, err := Read(inst)
	require.NoError(t, err)
	require.Empty(t, all)
	require.NoDirExists(t, inst.State)

	// The directories one by one, up to the last.
	for _, dir := range []string{inst.State, inst.Dir(), inst.Path(instance.StateName)} {
		require.NoError(t, os.Mkdir(dir, 0o700))
		all, err = Read(inst)
		require.NoError(t, err)
		require.Empty(t, all)
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, entries)
	}
}

func TestReadOfAnOpenDirectoryIsRefused(t *testing.T) {
	s, inst := newStore(t)
	save(t, s, status("web"))
	require.NoError(t, os.Chmod(inst.Path(instance.StateName), 0o755))
	_, err := Read(inst)
	var merr *instance.ModeError
	require.ErrorAs(t, err, &merr)
	require.ErrorAs(t, s.Save(status("web")), &merr)
}

func TestDeleteDropsEnvironmentsThatNobodyUses(t *testing.T) {
	s, inst := newStore(t)
	save(t, s, status("a", "X=1"), status("b", "X=1"), status("c", "X=2"), status("d"))
	require.NoError(t, s.Delete("a"))
	require.Len(t, files(t, inst, instance.EnvName), 2, "b has it still")
	require.NoError(t, s.Delete("b"))
	require.Equal(t, []string{hash([]string{"X=2"})}, files(t, inst, instance.EnvName))
	require.NoError(t, s.Delete("b"), "gone already")
	save(t, s, status("c", "X=3"))
	require.NoError(t, s.Delete("d"))
	require.Equal(t, []string{hash([]string{"X=3"})}, files(t, inst, instance.EnvName), "an old one goes with the next delete")
	all, bad := load(t, s)
	require.Empty(t, bad)
	require.Equal(t, []string{"c"}, serviceNames(all))
}

// TestEnvironmentLostUnderARunningDaemon is written again by the next save.
func TestEnvironmentLostUnderARunningDaemon(t *testing.T) {
	s, inst := newStore(t)
	save(t, s, status("a", "X=1"))
	path := filepath.Join(inst.Path(instance.EnvName), hash([]string{"X=1"}))
	for name, lose := range map[string]func() error{
		"removed":  func() error { return os.Remove(path) },
		"torn":     func() error { return os.Truncate(path, 1) },
		"replaced": func() error { return errors.Join(os.Remove(path), os.Symlink("/etc/passwd", path)) },
	} {
		require.NoError(t, lose(), name)
		save(t, s, status("a", "X=1"))
		text, err := os.ReadFile(path)
		require.NoError(t, err, name)
		require.Equal(t, "X=1", string(text), name)
	}
}

// TestWhatIsThereIsNotWrittenAgain, and what is not there any more is.
func TestWhatIsThereIsNotWrittenAgain(t *testing.T) {
	s, inst := newStore(t)
	path := inst.Path(instance.StateName, "web.json")
	save(t, s, status("web"))
	before, err := os.Stat(path)
	require.NoError(t, err)
	save(t, s, status("web"))
	after, err := os.Stat(path)
	require.NoError(t, err)
	require.True(t, os.SameFile(before, after), "it was written again")
	for name, lose := range map[string]func() error{
		"removed": func() error { return os.Remove(path) },
		"torn":    func() error { return os.Truncate(path, 10) },
		"deleted": func() error { return s.Delete("web") },
		"another": func() error { st := status("web"); st.Why = "x"; return s.Save(st) },
	} {
		require.NoError(t, lose(), name)
		save(t, s, status("web"))
		all, bad := load(t, s)
		require.Empty(t, bad, name)
		require.Len(t, all, 1, name)
		require.Empty(t, all[0].Why, name)
	}
}

// TestDirectoryRemovedUnderARunningDaemon is made again by the next save.
func TestDirectoryRemovedUnderARunningDaemon(t *testing.T) {
	s, inst := newStore(t)
	save(t, s, status("web", "A=1"))
	for _, lost := range []string{inst.Path(instance.EnvName), inst.Path(instance.StateName), inst.Dir(), inst.State} {
		require.NoError(t, os.RemoveAll(lost))
		save(t, s, status("web", "A=1"))
		all, bad := load(t, s)
		require.Empty(t, bad, lost)
		require.Equal(t, []string{"A=1"}, all[0].Env)
	}
}

// TestConcurrentSavesAndDeletes: each service's goroutine saves when it likes, and all have the same
// environment as a rule. No save fails, and no delete takes an environment that was just stored.
func TestConcurrentSavesAndDeletes(t *testing.T) {
	s, _ := newStore(t)
	const rounds = 60
	errs := make(chan error, 1000)
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for r := range rounds {
				errs <- s.Save(status(fmt.Sprint("keep", n), fmt.Sprint("ROUND=", r)))
			}
		})
	}
	wg.Go(func() {
		for range rounds {
			errs <- s.Save(status("comes", "A=1"))
			errs <- s.Delete("comes")
		}
	})
	go func() { wg.Wait(); close(errs) }()
	for err := range errs {
		require.NoError(t, err)
	}
	all, bad := load(t, s)
	require.Empty(t, bad)
	require.Len(t, all, 4)
	for _, st := range all {
		require.Equal(t, []string{fmt.Sprint("ROUND=", rounds-1)}, st.Env)
	}
}

// TestReaderDuringSaves: the client reads the same files while hobd writes them.
func TestReaderDuringSaves(t *testing.T) {
	s, inst := newStore(t)
	save(t, s, status("web"))
	done := make(chan error, 1)
	go func() {
		var err error
		for n := range 300 {
			st := status("web")
			st.Why = strings.Repeat("x", n*50)
			err = errors.Join(err, s.Save(st))
		}
		done <- err
	}()
	for {
		all, err := Read(inst)
		require.NoError(t, err)
		require.Equal(t, []string{"web"}, serviceNames(all))
		select {
		case err := <-done:
			require.NoError(t, err)
			require.Equal(t, []string{"web.json", "web.json.old"}, files(t, inst, instance.StateName))
			require.NoFileExists(t, filepath.Join(inst.Dir(), "web.json"))
			require.NoError(t, s.Delete("web"))
			require.Empty(t, files(t, inst, instance.StateName))
			return
		default:
		}
	}
}
