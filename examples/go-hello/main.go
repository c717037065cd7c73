// Hello greets from Go: its arguments, and the pod's name if the manifest
// gives it.
package main

import (
	"fmt"
	"os"
	"runtime"
)

func main() {
	pod, given := os.LookupEnv("POD_NAME")
	if !given {
		pod = "(none)"
	}
	fmt.Printf("Hello from Go (%s/%s) in pod %s\n", runtime.GOOS, runtime.GOARCH, pod)
	for i, argument := range os.Args[1:] {
		fmt.Printf("argument %d: %s\n", i+1, argument)
	}
}
