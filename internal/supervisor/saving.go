package supervisor

import (
	"fmt"
	"time"

	"github.com/hobworks/hob/internal/service"
)

// resaveAfter is how long what could not be written waits until it is tried again.
const resaveAfter = time.Second

// publish saves the state and shows it to everybody.
func (v *svc) publish() {
	v.saving.Lock()
	defer v.saving.Unlock()
	v.save(v.st)
	v.show()
}

// resave writes again what is published, unless the service was let go of: somebody else's may be written already, or it is forgotten.
func (v *svc) resave() {
	v.saving.Lock()
	defer v.saving.Unlock()
	select {
	case <-v.quit:
	default:
		v.save(v.status())
	}
}

// save writes what the next hobd goes by, and tries again until it can: without that, a service that was stopped while the disk was full would
// be started by the next one (TestOutages). The caller holds saving.
func (v *svc) save(st service.Status) {
	err := v.sup.o.Store.Save(st)
	v.mu.Lock()
	was := v.unsaved
	v.unsaved = err
	v.mu.Unlock()
	switch {
	case err == nil && was != nil:
		v.sup.o.Log.Info("state is saved at last", "service", v.name)
	case err != nil && was == nil:
		v.sup.o.Log.Error("save state", "service", v.name, "err", err)
	}
	switch {
	case err == nil && v.later != nil:
		v.later.Stop()
	case err != nil && v.later == nil:
		v.later = time.AfterFunc(resaveAfter, v.resave)
	case err != nil:
		v.later.Reset(resaveAfter)
	}
}

// neverAgain is for when the goroutine has ended: what is not written yet is tried a last time, and from then on nothing is written.
func (v *svc) neverAgain() {
	v.saving.Lock()
	defer v.saving.Unlock()
	if v.whyUnsaved() != nil {
		v.save(v.st)
	}
	if v.later != nil {
		v.later.Stop()
	}
}

// whyUnsaved is why the published state is not on disk; nil: it is.
func (v *svc) whyUnsaved() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.unsaved
}

// Saved returns nil when all that a successor has to know is on disk. What is not is tried once more.
func (s *Supervisor) Saved() error {
	for _, v := range s.services() {
		if v.whyUnsaved() != nil {
			v.resave()
		}
		if err := v.whyUnsaved(); err != nil {
			return fmt.Errorf("save the state of %s: %w", v.name, err)
		}
	}
	return nil
}

// Resave writes every state again, and makes the logs' directories again: the directory was removed.
func (s *Supervisor) Resave() {
	for _, v := range s.services() {
		v.remakeLog()
		v.resave()
	}
}

func (v *svc) remakeLog() {
	v.mu.Lock()
	out := v.pubOut
	v.mu.Unlock()
	if out == nil {
		return
	}
	if err := out.Remake(); err != nil {
		v.sup.o.Log.Error("make the log again", "service", v.name, "err", err)
	}
}
