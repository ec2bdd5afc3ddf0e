// Command crm mirrors all chats of the sellers who have connected it: it hears of
// each message in the conversations on their posts, as long as they agree.
// README.md says how to run it.
package main

import (
	"cmp"
	"context"
	"errors"
	"log"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatalf("%v\n(\". .openkenar/dev.env\" sets what is needed)", err)
	}
}

func run(ctx context.Context) error {
	// A token lives for an hour. Renewed at half of it, it leaves the platform half
	// an hour to be away.
	early, err := time.ParseDuration(cmp.Or(os.Getenv("RENEW_EARLY"), "30m"))
	if err != nil {
		return err
	}
	book, err := openBook(cmp.Or(os.Getenv("CRM_FILE"), ".openkenar/crm.json"))
	if err != nil {
		return err
	}
	c, err := newCRM(book, early)
	if err != nil {
		return err
	}
	server := &http.Server{Addr: cmp.Or(os.Getenv("LISTEN"), "127.0.0.1:8000"), Handler: c.handler(), ReadTimeout: 10 * time.Second}
	log.Printf("open http://%s/", server.Addr)
	ctx, end := context.WithCancel(ctx)
	var listening sync.WaitGroup
	listening.Go(func() {
		err = server.ListenAndServe()
		end()
	})
	c.keep(ctx) // until it is to end
	end()
	rest, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	stopped := server.Shutdown(rest)
	listening.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return stopped
	}
	return err
}
