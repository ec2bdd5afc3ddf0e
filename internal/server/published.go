package server

import (
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/openkenar/openkenar/internal/api"
	"github.com/openkenar/openkenar/internal/contract"
	"github.com/openkenar/openkenar/internal/oauth"
	"github.com/openkenar/openkenar/internal/status"
)

// published serves what the platform tells of itself: where its calls come from,
// and its contract, made from what is routed here.
func (s *Server) published(open, host, operations []api.Operation) *api.Mux {
	about := api.NewMux(api.Options{Log: s.log})
	about.Handle(contract.Egress(), func(*http.Request) (any, error) { return contract.Addresses{CIDRs: s.egress}, nil })
	file := func(document func() ([]byte, error)) func(http.ResponseWriter, *http.Request) error {
		made := sync.OnceValues(document)
		return func(w http.ResponseWriter, _ *http.Request) error {
			content, err := made()
			if err != nil {
				return err
			}
			writeDocument(w, content)
			return nil
		}
	}
	about.HandleRaw(contract.Published(contract.AppsFile), file(func() ([]byte, error) {
		return contract.ForApps(slices.Concat(open, oauth.Operations(), about.Operations()))
	}))
	about.HandleRaw(contract.Published(contract.HostFile), file(func() ([]byte, error) {
		return contract.ForHost(slices.Concat(host, operations))
	}))
	schemas := sync.OnceValues(contract.Schemas)
	about.HandleRaw(contract.PublishedSchema(), func(w http.ResponseWriter, r *http.Request) error {
		files, err := schemas()
		if err != nil {
			return err
		}
		name := "schemas/" + r.PathValue("of") + "/" + r.PathValue("name")
		for _, f := range files {
			if f.Name == name {
				writeDocument(w, f.Content)
				return nil
			}
		}
		return status.New(status.NotFound, "no such schema; they are schemas/events/TYPE.json, schemas/calls/TYPE.request.json and .answer.json")
	})
	return about
}

// writeDocument writes a document of the contract. It holds nothing of anybody,
// so pages of any origin may read it.
func writeDocument(w http.ResponseWriter, content []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "public, max-age=300")
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(content)
}

// split sends what begins with a prefix to one handler, and the rest to another.
func split(prefix string, to, rest http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, prefix) {
			to.ServeHTTP(w, r)
			return
		}
		rest.ServeHTTP(w, r)
	})
}
