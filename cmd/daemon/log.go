package daemon

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"

	"github.com/hobworks/hob"
)

// newLogger writes for people on a terminal and plain lines into a file.
func newLogger(w io.Writer) *slog.Logger {
	if f, ok := w.(*os.File); ok {
		if fi, err := f.Stat(); err == nil && fi.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull {
			return slog.New(tint.NewTextHandler(w, &tint.Options{TimeFormat: time.TimeOnly}))
		}
	}
	return slog.New(slog.NewTextHandler(w, nil))
}

// complain tells a person at the keyboard, or the log, why hobd did not serve.
func complain(w io.Writer, err error) {
	fmt.Fprintf(w, "hobd: %v\n", err)
	var e *hob.Error
	if errors.As(err, &e) && e.Hint != "" {
		fmt.Fprintf(w, "hobd: hint: %s\n", e.Hint)
	}
}
