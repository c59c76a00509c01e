package readiness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"time"

	"github.com/hobworks/hob/internal/servicelog"
)

// forLine waits for a line of this run's log that matches.
func (w *waiter) forLine(ctx context.Context) error {
	w.missing = fmt.Sprintf("no line of its log matched /%s/", w.r.Log)
	re, err := regexp.Compile(w.r.Log)
	if err != nil {
		return err
	}
	log, err := servicelog.NewReader(w.t.Log)
	if err != nil {
		return err
	}
	defer log.Close()
	log.Seek(w.t.From)
	var whole servicelog.Joiner
	for {
		line, err := log.Follow(ctx)
		if err != nil {
			return err
		}
		if re.Match(whole.Add(line)) {
			return nil
		}
	}
}

// forNotification waits for READY=1.
func (w *waiter) forNotification(ctx context.Context) error {
	w.missing = "it did not notify"
	for {
		m, err := w.t.Notify.Next(ctx)
		if err != nil {
			return err
		}
		if m.Extend > 0 {
			w.timer.Reset(m.Extend)
		}
		if m.Status != "" {
			w.missing = "it did not notify, and said: " + m.Status
			w.status(m.Status)
		}
		if m.Ready {
			return nil
		}
	}
}

var errClosed = errors.New("it closed its readiness descriptor without a newline")

// forNewline waits for a newline on the run's descriptor, the way s6 has it.
func (w *waiter) forNewline(ctx context.Context) error {
	w.missing = fmt.Sprintf("it wrote no newline to descriptor %d", w.r.FD)
	if err := w.t.FD.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = w.t.FD.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, 512)
	for {
		n, err := w.t.FD.Read(buf)
		switch {
		case bytes.IndexByte(buf[:n], '\n') >= 0:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, os.ErrDeadlineExceeded):
			continue
		case err != nil:
			return errClosed
		}
	}
}
