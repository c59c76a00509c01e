package supervisor

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hobworks/hob/internal/service"
)

// disk is a store that can be full.
type disk struct {
	mu    sync.Mutex
	full  bool
	tries int
	has   []service.State // what was written
}

var errFull = errors.New("no space left on device")

func (d *disk) Save(st service.Status) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tries++
	if d.full {
		return errFull
	}
	d.has = append(d.has, st.State)
	return nil
}

func (d *disk) Delete(string) error { return nil }

func (d *disk) isFull(full bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full = full
}

// seen gives how often somebody tried, and what was written.
func (d *disk) seen() (tries int, has []service.State) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.tries, slices.Clone(d.has)
}

// saved is a service whose state is kept on d.
func saved(t *testing.T, d *disk) *svc {
	s := testSupervisor(t)
	s.o.Store = d
	v := makeSvc(s, service.Status{Spec: service.Spec{Name: "web", Cmd: []string{"true"}}, State: service.Running, Want: service.Up})
	s.all["web"] = v
	go v.loop()
	return v
}

// publishAs publishes a state, as the service's goroutine would.
func (v *svc) publishAs(state service.State) {
	v.st.State = state
	v.publish()
}

// TestStateIsSavedInTheEnd: once a second as long as it is not, only the latest one, and not again once it is.
func TestStateIsSavedInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{full: true}
		v := saved(t, d)
		defer v.close()
		v.publishAs(service.Stopping)
		v.publishAs(service.Stopped)
		require.ErrorIs(t, v.sup.Look("web").Unsaved, errFull)
		require.ErrorContains(t, v.sup.Saved(), "save the state of web: no space left on device")
		had, _ := d.seen()
		time.Sleep(3*resaveAfter + resaveAfter/2)
		synctest.Wait()
		now, _ := d.seen()
		require.Equal(t, had+3, now)
		d.isFull(false)
		time.Sleep(resaveAfter)
		synctest.Wait()
		require.NoError(t, v.sup.Look("web").Unsaved)
		require.NoError(t, v.sup.Saved())
		time.Sleep(time.Hour)
		synctest.Wait()
		_, has := d.seen()
		require.Equal(t, []service.State{service.Stopped}, has)
	})
}

// TestLastSaveIsTheLast: who lets go of a service tries once more, and then nothing of it is written: it may be forgotten, or another hobd's.
func TestLastSaveIsTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{full: true}
		v := saved(t, d)
		v.publishAs(service.Stopped)
		d.isFull(false)
		v.close()
		_, has := d.seen()
		require.Equal(t, []service.State{service.Stopped}, has)
		v.sup.Resave()
		time.Sleep(time.Hour)
		synctest.Wait()
		_, has = d.seen()
		require.Len(t, has, 1)
	})
}
