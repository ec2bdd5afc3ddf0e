package contract

import (
	"net/netip"

	"github.com/openkenar/openkenar/internal/api"
	"github.com/openkenar/openkenar/internal/schema"
	"github.com/openkenar/openkenar/internal/status"
)

// WellKnownPath begins the paths of what is published about the platform.
const WellKnownPath = "/.well-known/openkenar/"

const (
	tagAbout = "About the platform"
	tagProbe = "Operations"
)

// Addresses is where our calls come from.
type Addresses struct {
	CIDRs []netip.Prefix `json:"cidrs"`
}

// Egress publishes the addresses that our calls come from.
func Egress() api.Operation {
	return api.Operation{
		Route: "GET " + WellKnownPath + "egress.json", ID: "getEgress", Tag: tagAbout, Summary: "Get the addresses that our calls come from", Out: Addresses{},
	}
}

// Published serves a document: the one for apps, or the one for the marketplace.
func Published(file string) api.Operation {
	id, summary := "getContract", "Get this document"
	if file == HostFile {
		id, summary = "getHostContract", "Get the document of what the marketplace's backend calls"
	}
	return api.Operation{
		Route: "GET " + WellKnownPath + file, ID: id, Tag: tagAbout, Summary: summary, Out: &schema.Schema{Type: "object", Words: "An OpenAPI 3.1 document."},
	}
}

// PublishedSchema serves the JSON Schema of an event or a call.
func PublishedSchema() api.Operation {
	return api.Operation{
		Route: "GET " + WellKnownPath + "schemas/{of}/{name}", ID: "getSchema", Tag: tagAbout, Summary: "Get the JSON Schema of what apps are sent",
		Params: []api.Param{
			{Name: "of", Schema: schema.Text("").One("events", "calls")},
			{Name: "name", Schema: schema.Text("Such as `NEW_MESSAGE.json`; of calls `SESSION_INITIALIZATION.request.json` and `….answer.json`.")},
		},
		Out: &schema.Schema{Type: "object", Words: "A JSON Schema."}, Errors: []status.Kind{status.NotFound},
	}
}

// WellKnown describes what is published about the platform.
func WellKnown() []api.Operation {
	return []api.Operation{Egress(), Published(AppsFile), Published(HostFile), PublishedSchema()}
}

// Alive says whether the process answers.
func Alive() api.Operation {
	return api.Operation{Route: "GET /healthz", ID: "isAlive", Tag: tagProbe, Summary: "Whether the process answers", Out: api.Empty{}}
}

// Ready says whether the platform takes writes.
func Ready() api.Operation {
	return api.Operation{Route: "GET /readyz", ID: "isReady", Tag: tagProbe, Summary: "Whether the platform takes writes", Out: api.Empty{}}
}

// Metrics shows the metrics.
func Metrics() api.Operation {
	return api.Operation{
		Route: "GET /metrics", ID: "getMetrics", Tag: tagProbe, Summary: "Metrics for Prometheus",
		Also: []api.Content{{Type: "text/plain", Schema: schema.Text("The text format of Prometheus.")}},
	}
}

// Probes describes what operators ask; a listener of its own may be set for it.
func Probes() []api.Operation { return []api.Operation{Alive(), Ready(), Metrics()} }
