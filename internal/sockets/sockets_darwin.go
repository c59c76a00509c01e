package sockets

import (
	"errors"
	"fmt"
)

func listening() ([]Listener, error) {
	return nil, fmt.Errorf("list listening sockets: %w", errors.ErrUnsupported)
}

// Own can't be told here.
func Own([]int) ([]Place, error) {
	return nil, fmt.Errorf("find where a process listens: %w", errors.ErrUnsupported)
}

// Holders finds nobody: darwin tells it to lsof(8) only.
func Holders([]Listener) []Holder { return nil }
