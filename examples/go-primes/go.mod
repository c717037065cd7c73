module example.com/go-primes

go 1.24
