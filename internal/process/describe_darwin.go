package process

import (
	"errors"
	"time"
)

// Description is what a process itself still tells of how it was started.
type Description struct {
	Args      []string
	Dir       string
	Env       []string
	StartedAt time.Time
}

// Describe can't find out a process's directory here.
func Describe(ID) (Description, error) { return Description{}, errors.ErrUnsupported }
