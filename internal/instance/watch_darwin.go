package instance

import (
	"sync"
	"time"
)

// Watch signals every 2 s: a poll stands in for a watch here. The channel has room for one
// signal: a receiver looks for itself what is so. stop closes the channel; call it once.
func Watch(dirs, selves, above []string) (changed <-chan struct{}, stop func(), err error) {
	c := make(chan struct{}, 1)
	done := make(chan struct{})
	go func() {
		defer close(c)
		t := time.NewTicker(2 * time.Second)
		defer t.Stop()
		for {
			select {
			case <-done:
				return
			case <-t.C:
			}
			select {
			case c <- struct{}{}:
			default:
			}
		}
	}()
	var once sync.Once
	return c, func() { once.Do(func() { close(done) }) }, nil
}
