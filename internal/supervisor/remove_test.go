package supervisor

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/service"
)

// slowStore takes its time to forget a service.
type slowStore struct {
	nowhere
	begun, end chan struct{}
}

func (d slowStore) Delete(string) error {
	close(d.begun)
	<-d.end
	return nil
}

// TestRemovedOrStarted: one of both. A service that somebody starts is not removed, and one that is removed is not started, nor another one of its
// name made, before all its files are gone: they would be those of the next one.
func TestRemovedOrStarted(t *testing.T) {
	s := testSupervisor(t)
	synctest.Test(t, func(t *testing.T) { removedOrStarted(t, s) })
}

func removedOrStarted(t *testing.T, s *Supervisor) {
	store := slowStore{begun: make(chan struct{}), end: make(chan struct{})}
	s.o.Store = store
	v := s.with(map[string][]string{"web": nil}).all["web"]
	go v.loop()
	v.publishAs(service.Starting)
	require.ErrorIs(t, v.remove(true), ErrBusy)
	found, err := s.get("web")
	require.NoError(t, err)
	require.Same(t, v, found)

	v.publishAs(service.Stopped)
	removed := make(chan error, 1)
	go func() { removed <- v.remove(true) }()
	<-store.begun
	_, err = v.start(context.Background(), event{}, true)
	require.ErrorIs(t, err, ErrClosed)
	_, err = s.get("web")
	require.ErrorIs(t, err, ErrNoSuchService)
	next := make(chan *svc)
	go func() {
		v, err := s.obtain(service.Spec{Name: "web"})
		if err != nil {
			t.Error(err)
		}
		next <- v
	}()
	synctest.Wait()
	select {
	case <-next:
		t.Error("it was made before the other one was gone")
	default:
	}
	close(store.end)
	require.NoError(t, <-removed)
	other := <-next
	require.NotSame(t, v, other)
	other.close()
}

// busyStore writes when it is told to.
type busyStore struct {
	nowhere
	write chan struct{}
}

func (d busyStore) Save(service.Status) error {
	<-d.write
	return nil
}

// TestTwoRemoveOne: only one of them does, and the other one waits for that; also where both have come before its goroutine had ended.
func TestTwoRemoveOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := testSupervisor(t)
		store := busyStore{write: make(chan struct{})}
		s.o.Store = store
		v := s.with(map[string][]string{"web": nil}).all["web"]
		go v.loop()
		go v.send(event{kind: evSpec, spec: &service.Spec{Name: "web"}})
		synctest.Wait()
		removed := make(chan error, 2)
		for range cap(removed) {
			go func() { removed <- v.remove(false) }()
		}
		synctest.Wait()
		close(store.write)
		for range cap(removed) {
			require.NoError(t, <-removed)
		}
		_, err := s.get("web")
		require.ErrorIs(t, err, ErrNoSuchService)
	})
}
