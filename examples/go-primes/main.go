// Primes counts the primes below its argument by the sieve of Eratosthenes:
// the work of a Job. It exits 2 if the argument is not a number.
package main

import (
	"fmt"
	"os"
	"strconv"
)

const most = 100_000_000 // a byte each: what fits a pod of 128 MiB

func main() {
	if len(os.Args) != 2 {
		fail("usage: primes LIMIT")
	}
	limit, err := strconv.Atoi(os.Args[1])
	if err != nil || limit < 0 || limit > most {
		fail(fmt.Sprintf("cannot count primes below %q: want a number from 0 to %d", os.Args[1], most))
	}
	count, largest := primesBelow(limit)
	fmt.Printf("%d primes below %d, the largest is %d\n", count, limit, largest)
}

func primesBelow(limit int) (count, largest int) {
	composite := make([]bool, limit)
	for n := 2; n < limit; n++ {
		if composite[n] {
			continue
		}
		count, largest = count+1, n
		for multiple := n * n; multiple < limit; multiple += n {
			composite[multiple] = true
		}
	}
	return count, largest
}

func fail(message string) {
	fmt.Fprintln(os.Stderr, message)
	os.Exit(2)
}
