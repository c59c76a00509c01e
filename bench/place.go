package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"
)

// patience is far above what anything here takes.
const patience = 2 * time.Minute

// place is where things are: the programs, and a directory for each of both sides.
type place struct {
	bin, project, floor string
	env                 []string
}

func (p place) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(p.bin, name), args...)
	cmd.Dir, cmd.Env = p.project, p.env
	return cmd
}

// time runs a command to its end and says how long it took.
func (p place) time(ctx context.Context, name string, args ...string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := p.command(ctx, name, args...)
	began := time.Now()
	err := cmd.Run()
	took := time.Since(began)
	if err == nil {
		return took, nil
	}
	// Once more for the words: they were not collected, as that costs time.
	out, _ := p.command(ctx, name, args...).CombinedOutput()
	return 0, fmt.Errorf("%s %q: %w (again: %s)", name, args, err, out)
}

// status is what hob says of its daemon.
type status struct {
	Daemon struct {
		Pid    int    `json:"pid"`
		Socket string `json:"socket"`
	} `json:"daemon"`
}

// start makes hobd be there.
func (p place) start(ctx context.Context) (status, error) {
	var s status
	out, err := p.command(ctx, "hob", "daemon", "start", "--json").Output()
	if err != nil {
		return s, fmt.Errorf("hob daemon start: %w: %s", err, out)
	}
	return s, json.Unmarshal(out, &s)
}

// stopBoth returns when both daemons are gone.
func (p place) stopBoth(ctx context.Context) error {
	_, err := p.time(ctx, "hob", "daemon", "stop")
	_, floorErr := p.time(ctx, "floor", "stop", p.floor)
	return errors.Join(err, floorErr)
}
