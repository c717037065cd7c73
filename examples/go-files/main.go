// Serves the files below /www of its image. It is run once per request, as by
// CGI, which Go's standard library speaks.
package main

import (
	"log"
	"net/http"
	"net/http/cgi"
)

func main() {
	if err := cgi.Serve(http.FileServer(http.Dir("/www"))); err != nil {
		log.Fatal(err)
	}
}
