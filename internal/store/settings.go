package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/hobworks/hob/internal/instance"
)

// Settings are what a project's file says about hobd itself. hobd does not read that file when it starts, so that a
// typo never stops a recovery.
type Settings struct {
	IdleExit time.Duration `json:"idle_exit,omitempty"`
}

const settingsName = "settings.json"

// SaveSettings writes them.
func (s *Store) SaveSettings(settings Settings) error {
	data, err := json.Marshal(settings)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return inTop(s.inst, func(dir *os.File) error { return instance.WriteFile(dir, settingsName, append(data, '\n')) })
}

// ReadSettings reads them; without any they are zero.
func ReadSettings(inst instance.Instance) (settings Settings, err error) {
	err = inTop(inst, func(dir *os.File) error {
		data, err := instance.ReadFile(dir, settingsName, maxState)
		if err != nil {
			return err
		}
		if settings, err = decodeSettings(data); err != nil {
			return fmt.Errorf("%s/%s: %w", dir.Name(), settingsName, err)
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return settings, err
}

func decodeSettings(data []byte) (s Settings, err error) {
	err = json.Unmarshal(data, &s)
	return s, err
}

func inTop(inst instance.Instance, f func(dir *os.File) error) error {
	state, err := inst.OpenState(false)
	if err != nil {
		return err
	}
	defer state.Close()
	dir, err := inst.OpenDir(state, false)
	if err != nil {
		return err
	}
	defer dir.Close()
	return f(dir)
}
