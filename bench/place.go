package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// patience is far above what anything here takes.
const patience = 2 * time.Minute

// place is where things are: the programs, and a directory for each of both sides.
type place struct {
	*report
	bin, project, floor string
	env                 []string
}

// newPlace makes the directories of one measure.
func newPlace(o options, name string) (place, error) {
	p := place{report: o.report, bin: o.bin, project: filepath.Join(o.work, name, "project"), floor: filepath.Join(o.work, name, "floor")}
	for _, dir := range []string{filepath.Join(p.project, ".git"), p.floor} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return p, err
		}
	}
	p.env = append(os.Environ(), "HOB_STATE_DIR="+filepath.Join(o.work, "state"), "HOB_DAEMON="+filepath.Join(o.bin, "hobd"))
	return p, nil
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

// status is what hob says of its daemon and its services.
type status struct {
	Daemon struct {
		Pid    int    `json:"pid"`
		Socket string `json:"socket"`
		Lock   string `json:"lock"`
		Log    string `json:"log"`
	} `json:"daemon"`
	Services []struct {
		Name    string `json:"name"`
		State   string `json:"state"`
		Pid     int    `json:"pid"`
		Adopted int    `json:"adopted"`
	} `json:"services"`
}

// ask is a hob command that answers with a document.
func (p place) ask(ctx context.Context, args ...string) (status, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var s status
	out, err := p.command(ctx, "hob", append(args, "--json")...).Output()
	if err != nil {
		return s, fmt.Errorf("hob %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return s, json.Unmarshal(out, &s)
}

// start makes hobd be there.
func (p place) start(ctx context.Context) (status, error) { return p.ask(ctx, "daemon", "start") }

// stopBoth returns when both daemons are gone.
func (p place) stopBoth(ctx context.Context) error {
	_, err := p.time(ctx, "hob", "daemon", "stop")
	_, floorErr := p.time(ctx, "floor", "stop", p.floor)
	return errors.Join(err, floorErr)
}

// clear ends what runs of both sides, services too.
func (p place) clear(ctx context.Context) error {
	_, err := p.time(ctx, "hob", "down")
	return errors.Join(err, p.stopBoth(ctx))
}
