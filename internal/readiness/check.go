package readiness

import (
	"context"

	"github.com/hobworks/hob/internal/service"
)

// Check asks once, where r is about something that can be asked: TCP, HTTP or Exec. It blocks for some seconds at most,
// or until ctx ends. The error says what is wrong; a *sockets.TakenError, that somebody else answers.
func Check(ctx context.Context, r service.Readiness, t Target) error {
	w := &waiter{r: r, t: t, status: func(string) {}}
	return w.try(ctx)
}
