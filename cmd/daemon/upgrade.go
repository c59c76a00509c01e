package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hobworks/hob/internal/fault"
	"github.com/hobworks/hob/internal/instance"
	"github.com/hobworks/hob/internal/sentry"
	"github.com/hobworks/hob/internal/store"
)

const (
	// intentName is the file that names the program which hobd is about to become: whoever has to start a hobd because that was
	// cut short starts this one.
	intentName = "upgrade.json"

	// sentryFile is the socket to the sentry, among the files that are passed on.
	sentryFile = "sentry"
)

type intent struct {
	Program string `json:"program"`
}

// handover lets go of all that runs, for the program that this process becomes. From its end on a signal ends this process as its default
// action is: a caught one would be lost by the exec. To the sentry that is a kill, and it starts the program that was meant to be.
func (d *daemon) handover(ctx context.Context, program string) (map[string]*os.File, error) {
	if err := d.sup.Saved(); err != nil {
		return nil, err
	}
	if err := d.sup.Givable(); err != nil {
		return nil, err
	}
	if _, err := store.Read(d.inst); err != nil {
		return nil, fmt.Errorf("read back what was written down: %w", err)
	}
	data, err := json.Marshal(intent{program})
	if err == nil {
		err = inDir(d.inst, false, func(dir *os.File) error { return instance.WriteFile(dir, intentName, append(data, '\n')) })
	}
	if err != nil {
		return nil, fmt.Errorf("write down what is meant to be: %w", err)
	}
	fault.Point("daemon.upgrade.intended")
	old := d.guard.handOver()
	fault.Point("daemon.upgrade.sentry")
	files := d.sup.HandOver()
	if old != nil {
		files[sentryFile] = old
	}
	d.sig.end()
	return files, nil
}

// upgraded ends what was left from before: old is the socket to the last sentry, or nil.
func (d *daemon) upgraded(old *os.File) {
	if old != nil {
		if err := sentry.Dismiss(old); err != nil {
			d.log.Error("dismiss the sentry of the program before", "err", err)
		}
	}
	_ = inDir(d.inst, false, func(dir *os.File) error { return instance.Remove(dir, intentName) })
}

// intended is the program that hobd was about to become.
func (w *watchman) intended() (string, error) {
	inst, err := w.instance()
	if err != nil {
		return "", err
	}
	var i intent
	data, err := os.ReadFile(inst.Path(intentName))
	if err != nil || json.Unmarshal(data, &i) != nil || !filepath.IsAbs(i.Program) {
		return nextProgram()
	}
	return i.Program, nil
}
