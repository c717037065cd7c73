// Asks one URL over so many connections for so long, and counts what it gets.
//
// Each connection is kept, and has one request at a time: the next is sent when
// the last is answered. An answer counts if its status is 200 and its body is
// the wanted one, byte for byte; whatever else happens is an error, and the
// connection is made anew. One line of JSON says how it went.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sync"
	"time"
)

type told struct {
	Answers   int     `json:"answers"`
	Errors    int     `json:"errors"`
	FirstWhy  string  `json:"first_error"`
	Seconds   float64 `json:"seconds"`
	P50Micros float64 `json:"p50_us"`
	P99Micros float64 `json:"p99_us"`
}

type client struct {
	host    string
	request []byte
	want    string
	took    []time.Duration
	errors  int
	why     error
}

// askUntil asks over one connection after the other, each as long as it lasts.
func (c *client) askUntil(end time.Time) {
	for time.Now().Before(end) {
		if err := c.askOn(end); err != nil {
			c.errors++
			c.why = err
		}
	}
}

func (c *client) askOn(end time.Time) error {
	connection, err := net.DialTimeout("tcp", c.host, time.Second)
	if err != nil {
		return err
	}
	defer connection.Close()
	reader := bufio.NewReader(connection)
	connection.SetDeadline(end.Add(10 * time.Second))
	for began := time.Now(); began.Before(end); {
		if _, err := connection.Write(c.request); err != nil {
			return err
		}
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(response.Body)
		if err != nil {
			return err
		}
		if response.StatusCode != http.StatusOK || string(body) != c.want {
			return fmt.Errorf("%s: %q", response.Status, body)
		}
		now := time.Now()
		c.took = append(c.took, now.Sub(began))
		began = now
		if response.Close {
			return nil
		}
	}
	return nil
}

func main() {
	connections := flag.Int("connections", 1, "how many, with one request each at a time")
	during := flag.Duration("during", time.Second, "how long")
	want := flag.String("want", "", "the body of an answer that counts")
	flag.Parse()
	at, err := url.Parse(flag.Arg(0))
	if err != nil || at.Host == "" {
		fmt.Fprintf(os.Stderr, "cannot ask %q: it is no URL\n", flag.Arg(0))
		os.Exit(2)
	}
	request := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", at.RequestURI(), at.Host)
	clients := make([]client, *connections)
	began := time.Now()
	var all sync.WaitGroup
	for i := range clients {
		clients[i] = client{host: at.Host, request: request, want: *want}
		all.Go(func() { clients[i].askUntil(began.Add(*during)) })
	}
	all.Wait()
	said := told{Seconds: time.Since(began).Seconds()}
	var took []time.Duration
	for _, each := range clients {
		took = append(took, each.took...)
		said.Errors += each.errors
		if each.why != nil {
			said.FirstWhy = each.why.Error()
		}
	}
	said.Answers = len(took)
	slices.Sort(took)
	if len(took) > 0 {
		said.P50Micros = float64(took[len(took)/2].Nanoseconds()) / 1000
		said.P99Micros = float64(took[len(took)*99/100].Nanoseconds()) / 1000
	}
	json.NewEncoder(os.Stdout).Encode(said)
}
