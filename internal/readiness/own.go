package readiness

import (
	"errors"

	"github.com/hobworks/hob/internal/service"
	"github.com/hobworks/hob/internal/sockets"
)

var errListensNowhere = errors.New("it listens nowhere yet")

// find looks where the target's own processes listen: the first socket is the one.
func (w *waiter) find() error {
	tree, err := w.t.Tree()
	if err != nil {
		return err
	}
	places, err := sockets.Own(tree)
	if err != nil {
		return err
	}
	if len(places) == 0 {
		return errListensNowhere
	}
	w.t.Found(service.Address{Network: places[0].Network, Addr: places[0].Addr})
	return nil
}
