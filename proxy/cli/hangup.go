package cli

import (
	"os"
	"os/signal"
	"syscall"
)

// onHangup runs f whenever the program is sent SIGHUP, by which log rotation says
// that it has moved a file away. The returned function ends that.
func onHangup(f func()) func() {
	hangups := make(chan os.Signal, 1)
	done := make(chan struct{})
	signal.Notify(hangups, syscall.SIGHUP)
	go func() {
		defer close(done)
		for range hangups {
			f()
		}
	}()
	return func() {
		signal.Stop(hangups)
		close(hangups)
		<-done
	}
}
