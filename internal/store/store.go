// Package store keeps what hobd must find again after it was killed: one file for each service,
// state/NAME.json, replaced at each change by what was NAME.json.old, and each environment once, env/HASH, mode 0600. The
// client reads the same files when no daemon runs. It never decides what the state means, and
// reading never creates or removes anything.
package store

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/process"
	"github.com/hobworks/hob/internal/service"
)

// Limits on what is read back: far above what hobd writes.
const (
	maxState = 4 << 20
	maxEnv   = 8 << 20
)

const suffix = ".json"

// Store writes the state of one instance; only the holder of its lock may have one. Its methods
// may be called by several goroutines.
type Store struct {
	inst instance.Instance

	// Guards the files against our own goroutines: Delete must not take the environment of a
	// service whose state is about to be written (TestConcurrentSavesAndDeletes).
	mu   sync.Mutex
	dirs map[string]*os.File // the directories, as they were opened last
	seen map[string]bool     // environments that were whole when they were last read or written
	last map[string]written  // of each service
}

// written is what a file holds.
type written struct {
	size int64
	sum  uint64
}

// seed is for sums that nobody but this process compares.
var seed = maphash.MakeSeed()

// New makes the directories. They stay open as long as the Store can be reached.
func New(inst instance.Instance) (*Store, error) {
	s := &Store{inst: inst, dirs: map[string]*os.File{}, seen: map[string]bool{}, last: map[string]written{}}
	for _, name := range []string{instance.StateName, instance.EnvName} {
		if err := s.in(name, instance.Sweep); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// in calls f with one of the directories. To open it is to look at all above it, so it stays open; one that was removed under a running
// daemon is made again.
func (s *Store) in(name string, f func(dir *os.File) error) error {
	dir := s.dirs[name]
	if dir == nil || !instance.InPlace(dir) {
		fresh, err := open(s.inst, name, true)
		if err != nil {
			return err
		}
		if dir != nil {
			dir.Close()
		}
		dir, s.dirs[name] = fresh, fresh
	}
	return f(dir)
}

// open makes the directories when create is set. The caller closes the file.
func open(inst instance.Instance, name string, create bool) (*os.File, error) {
	state, err := inst.OpenState(create)
	if err != nil {
		return nil, err
	}
	defer state.Close()
	top, err := inst.OpenDir(state, create)
	if err != nil {
		return nil, err
	}
	defer top.Close()
	return instance.OpenSub(top, name, create)
}

// in is for those who only read.
func in(inst instance.Instance, name string, f func(dir *os.File) error) error {
	dir, err := open(inst, name, false)
	if err != nil {
		return err
	}
	defer dir.Close()
	return f(dir)
}

// Save writes st, unless that is what was written last and is there; its environment too, when that is new.
func (s *Store) Save(st service.Status) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range environments(&st) {
		if *e.env != nil {
			*e.hash = hash(*e.env)
			if err := s.saveEnv(*e.hash, *e.env); err != nil {
				return err
			}
		}
	}
	data, err := json.Marshal(st)
	if err != nil {
		return err
	}
	data = append(data, '\n')
	is := written{int64(len(data)), maphash.Bytes(seed, data)}
	return s.in(instance.StateName, func(dir *os.File) error {
		if s.last[st.Name] == is && instance.HasFile(dir, st.Name+suffix, is.size) {
			return nil
		}
		delete(s.last, st.Name)
		if err := instance.Rewrite(dir, st.Name+suffix, data); err != nil {
			return err
		}
		s.last[st.Name] = is
		return nil
	})
}

// environment is one of those that a status has, and the name that it is stored under.
type environment struct {
	env  *[]string
	hash *string
}

// environments are stored apart from the status: the client's, and what the file sets.
func environments(st *service.Status) []environment {
	return []environment{{&st.Env, &st.EnvHash}, {&st.Set, &st.SetHash}}
}

func hash(env []string) string {
	sum := sha256.Sum256([]byte(strings.Join(env, "\x00")))
	return hex.EncodeToString(sum[:16])
}

// saveEnv writes an environment that is not there, or was damaged before this process has seen it whole.
func (s *Store) saveEnv(hash string, env []string) error {
	data := []byte(strings.Join(env, "\x00"))
	return s.in(instance.EnvName, func(dir *os.File) error {
		there := instance.HasFile(dir, hash, int64(len(data)))
		if there && !s.seen[hash] {
			_, err := readEnv(dir, hash)
			there = err == nil
		}
		if !there {
			if err := instance.WriteFile(dir, hash, data); err != nil {
				return err
			}
		}
		s.seen[hash] = true
		return nil
	})
}

// Delete forgets a service; its environment goes when no other has the same.
func (s *Store) Delete(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.in(instance.StateName, func(dir *os.File) error {
		return errors.Join(instance.Remove(dir, name+suffix), instance.Remove(dir, name+suffix+instance.OldSuffix))
	})
	if err != nil {
		return err
	}
	all, err := Read(s.inst)
	if err != nil {
		return nil // which are in use can't be told, so all stay
	}
	return s.in(instance.EnvName, func(dir *os.File) error {
		names, err := instance.Names(dir)
		for _, n := range names {
			used := slices.ContainsFunc(all, func(st service.Status) bool { return st.EnvHash == n || st.SetHash == n })
			if !used && err == nil {
				err = instance.Remove(dir, n)
			}
		}
		return err
	})
}

// Load reads every service, with environments. A file that can't be read is set aside as
// NAME.json.bad-N and reported; it never stops the others.
func (s *Store) Load() (all []service.Status, bad []error, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err = s.in(instance.StateName, func(dir *os.File) error {
		var broken map[string]error
		all, broken, err = readAll(dir)
		for name, why := range broken {
			bad = append(bad, fmt.Errorf("state of a service can't be read and is set aside: %w", why))
			if err := setAside(dir, name); err != nil {
				bad = append(bad, err)
			}
		}
		return err
	})
	if err != nil {
		return nil, bad, err
	}
	for i := range all {
		bad = append(bad, addEnvironments(s.inst, &all[i])...)
	}
	return all, bad, nil
}

// addEnvironments reads those of a status; one that can't be read stays missing.
func addEnvironments(inst instance.Instance, st *service.Status) (bad []error) {
	for _, e := range environments(st) {
		if *e.hash == "" {
			continue
		}
		err := in(inst, instance.EnvName, func(dir *os.File) (err error) {
			*e.env, err = readEnv(dir, *e.hash)
			return err
		})
		if err != nil {
			bad = append(bad, fmt.Errorf("environment of %s: %w", st.Name, err))
		}
	}
	return bad
}

// readEnv verifies that the file holds what its name says: a service must not be started with
// half an environment.
func readEnv(dir *os.File, name string) (env []string, err error) {
	data, err := readFile(dir, name, maxEnv)
	if err != nil {
		return nil, err
	}
	env, ok := decodeEnv(data, name)
	if !ok {
		return nil, fmt.Errorf("%s/%s: not what was stored", dir.Name(), name)
	}
	return env, nil
}

func decodeEnv(data []byte, name string) (env []string, ok bool) {
	if len(data) > 0 {
		env = strings.Split(string(data), "\x00")
	}
	return env, hash(env) == name
}

func setAside(dir *os.File, name string) error {
	for n := 1; ; n++ {
		to := fmt.Sprintf("%s.bad-%d", name, n)
		if _, err := instance.ReadFile(dir, to, 0); errors.Is(err, fs.ErrNotExist) {
			return instance.Rename(dir, name, to)
		}
	}
}

// Read lists the services of an instance as they were last written, by name, without their
// environments. An instance without any has none. What hobd never wrote is passed over; a file that the kernel
// does not give is an error: nobody knows what is in it.
func Read(inst instance.Instance) ([]service.Status, error) {
	var all []service.Status
	err := in(inst, instance.StateName, func(dir *os.File) error {
		some, bad, err := readAll(dir)
		for _, file := range slices.Sorted(maps.Keys(bad)) {
			if _, kernel := errors.AsType[syscall.Errno](bad[file]); kernel && !errors.Is(bad[file], fs.ErrNotExist) {
				return bad[file]
			}
		}
		all = some
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return all, err
}

// ReadAll is Read with the environments; one that can't be read is missing.
func ReadAll(inst instance.Instance) ([]service.Status, error) {
	all, err := Read(inst)
	for i := range all {
		addEnvironments(inst, &all[i])
	}
	return all, err
}

// BootID names this boot of the machine as Status.Boot has it; "" when it can't be told.
func BootID() string {
	id, err := process.BootID()
	if err != nil {
		return ""
	}
	return id
}

func readAll(dir *os.File) (all []service.Status, bad map[string]error, err error) {
	names, err := instance.Names(dir)
	if err != nil {
		return nil, nil, err
	}
	bad = map[string]error{}
	for _, file := range names {
		name, ok := strings.CutSuffix(file, suffix)
		if !ok || service.CheckName(name) != nil {
			continue // nothing that hobd wrote
		}
		st, err := readOne(dir, file, name)
		if err != nil {
			bad[file] = err
			continue
		}
		all = append(all, st)
	}
	// By service: among the files web-1.json comes before web.json.
	slices.SortFunc(all, func(a, b service.Status) int { return strings.Compare(a.Name, b.Name) })
	return all, bad, nil
}

// readFile reads a file, and for some 0.6 s does not take the kernel's no for an answer: descriptors may be short for a moment, and what
// can't be read is given up for good.
func readFile(dir *os.File, name string, max int64) (data []byte, err error) {
	for pause := 5 * time.Millisecond; ; pause *= 2 {
		data, err = instance.ReadFile(dir, name, max)
		_, kernel := errors.AsType[syscall.Errno](err)
		if !kernel || errors.Is(err, fs.ErrNotExist) || pause > 320*time.Millisecond {
			return data, err
		}
		time.Sleep(pause)
	}
}

// readOne reads again what can't be decoded: who reads what a daemon writes may see half of it, if that writes twice meanwhile, see [instance.Rewrite].
func readOne(dir *os.File, file, name string) (st service.Status, err error) {
	for try := range 10 {
		if try > 0 {
			time.Sleep(time.Millisecond)
		}
		var data []byte
		if data, err = readFile(dir, file, maxState); err != nil {
			return st, err
		}
		if st, err = decodeStatus(data, name); err == nil {
			return st, nil
		}
	}
	return st, fmt.Errorf("%s/%s: %w", dir.Name(), file, err)
}

// decodeStatus reads the state of the service that is called name.
func decodeStatus(data []byte, name string) (st service.Status, err error) {
	if err := json.Unmarshal(data, &st); err != nil {
		return st, err
	}
	if st.Name != name || len(st.Cmd) == 0 {
		return st, fmt.Errorf("not the state of a service %q", name)
	}
	return st, nil
}
