// Command receiver prints every webhook that it gets: the smallest app there
// is. It checks nothing; a real app compares the Authorization header with its
// identification key before it believes a word.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"time"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8000", "address to listen on")
	flag.Parse()
	server := &http.Server{Addr: *listen, Handler: http.HandlerFunc(receive), ReadHeaderTimeout: 5 * time.Second}
	fmt.Printf("waiting for webhooks on http://%s/\n", *listen)
	log.Fatal(server.ListenAndServe())
}

func receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, "the body is too long, or broke off", http.StatusRequestEntityTooLarge)
		return
	}
	fmt.Printf("%s attempt %s\n%s\n", r.Header.Get("webhook-id"), r.Header.Get("OpenKenar-Attempt"), body)
}
