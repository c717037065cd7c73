// The process that holds a pod's namespaces: it sleeps until it is told to end.
//
// It is PID 1 of the pod's sandbox, where nobody else collects processes, but
// a pod with a PID namespace of its own is not something the test bed runs.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGINT, syscall.SIGTERM)
	<-ended
}
