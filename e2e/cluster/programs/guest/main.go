// A program that is the same on Linux and as wasm: it sleeps, says something,
// eats memory and exits as it is told, so that two nodes can be asked about the
// same pod.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	code := flag.Int("exit", 0, "exit with this code")
	eat := flag.Int("eat", 0, "use so many MiB of memory")
	sleep := flag.Duration("sleep", 0, "sleep for so long before")
	say := flag.String("say", "", "print this first")
	into := flag.String("into", "", "and write it into this file")
	tries := flag.Int("tries", 1, "exit so only until this attempt, then with 0")
	counter := flag.String("counter", "", "the file in which attempts are counted")
	flag.Parse()

	// As PID 1 of a Linux container it has to heed this itself. The code is
	// that of a program which a shell sees ended by SIGTERM.
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)

	if *say != "" {
		fmt.Println(*say)
	}
	if *into != "" {
		check(os.WriteFile(*into, []byte(*say), 0o644))
	}
	if *counter != "" && attempt(*counter) >= *tries {
		*code = 0
	}
	for range *eat {
		eaten = append(eaten, bytes.Repeat([]byte{1}, 1<<20))
	}
	select {
	case <-terminated:
		os.Exit(128 + int(syscall.SIGTERM))
	case <-time.After(*sleep):
		os.Exit(*code)
	}
}

var eaten [][]byte

func attempt(counter string) int {
	file, err := os.OpenFile(counter, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	check(err)
	_, err = file.WriteString("x")
	check(err)
	check(file.Close())
	about, err := os.Stat(counter)
	check(err)
	return int(about.Size())
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(120)
	}
}
