package servicelog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"
)

// silence is how long the end of the log must be quiet before Follow returns a line that
// has no newline yet.
const silence = 100 * time.Millisecond

// Follow returns the next line, and waits for it at the end of the log. A line without
// its newline it returns, Partial, after 100 ms of silence. It goes on through restarts of
// the Writer and into new segments. It returns the error of ctx when that ends, also where
// there are lines without end, io.EOF at the end that Until set, and fs.ErrNotExist when the
// directory of the log was removed.
func (r *Reader) Follow(ctx context.Context) (Line, error) {
	for {
		if err := ctx.Err(); err != nil {
			return Line{}, err
		}
		line, err := r.Next()
		if !errors.Is(err, io.EOF) {
			return line, err
		}
		err = r.waitForMore(ctx)
		if errors.Is(err, errSilence) || errors.Is(err, io.EOF) {
			if line, ok := r.Rest(); ok {
				return line, nil
			}
		}
		if err != nil && !errors.Is(err, errSilence) {
			return Line{}, err
		}
	}
}

var errSilence = errors.New("nothing more for a while")

// waitForMore is Wait, and errSilence when something waits for its newline for too long.
func (r *Reader) waitForMore(ctx context.Context) error {
	if r.start == r.end {
		return r.Wait(ctx)
	}
	quiet, cancel := context.WithTimeoutCause(ctx, silence, errSilence)
	defer cancel()
	err := r.Wait(quiet)
	if err != nil && ctx.Err() == nil && quiet.Err() != nil {
		return errSilence
	}
	return err
}

// Wait returns nil once there is more than Next has read, which need not be a whole line.
// It returns the error of ctx when that ends, io.EOF at the end that Until set, and
// fs.ErrNotExist when the directory of the log was removed.
func (r *Reader) Wait(ctx context.Context) error {
	r.watch.open(r.dir) // before the look, so that nothing happens between
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if r.ended() {
			return io.EOF
		}
		if grown, err := r.grown(); grown || err != nil {
			return err
		}
		r.watch.wait(ctx)
	}
}

// grown tells whether Next would find more bytes than it has read so far.
func (r *Reader) grown() (bool, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(r.dir.Fd()), &st); err != nil {
		return false, fmt.Errorf("stat log %s: %w", r.dir.Name(), err)
	}
	if st.Nlink == 0 {
		return false, fmt.Errorf("follow log %s: removed: %w", r.dir.Name(), fs.ErrNotExist)
	}
	if r.view == nil {
		numbers, err := segments(r.dir)
		return len(numbers) > 0, err
	}
	if err := r.view.refresh(); err != nil {
		return false, err
	}
	if r.view.size != r.view.offset {
		return true, nil
	}
	number, err := r.following()
	return number != 0, err
}

// pollWait waits for d, or until ctx ends.
func pollWait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
