package cli

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"

	"github.com/openkenar/openkenar/internal/server"
)

// The standard variables of OpenTelemetry that say where traces go. Those of
// its library (OTEL_TRACES_SAMPLER, OTEL_BSP_…, OTEL_SERVICE_NAME and
// OTEL_RESOURCE_ATTRIBUTES) it reads itself.
const (
	otelPrefix   = "OTEL_"
	otelExporter = "OTEL_EXPORTER_OTLP_"
	otelTraces   = otelExporter + "TRACES_"
	otelProtocol = "http/protobuf"
)

// traceOptions says where traces go: nowhere unless an endpoint is named.
func traceOptions(env map[string]string) (o server.TraceOptions, err error) {
	name, endpoint := otelTraces+"ENDPOINT", env[otelTraces+"ENDPOINT"]
	if endpoint == "" {
		name, endpoint = otelExporter+"ENDPOINT", env[otelExporter+"ENDPOINT"]
	}
	if endpoint == "" || strings.EqualFold(env["OTEL_SDK_DISABLED"], "true") || env["OTEL_TRACES_EXPORTER"] == "none" {
		return o, nil
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return o, fmt.Errorf("%s: %q is not an http or https URL; write http://HOST:4318", name, endpoint)
	}
	if name == otelExporter+"ENDPOINT" { // of all that is told; traces have a path of their own
		u = u.JoinPath("v1", "traces")
	}
	protocol := cmp.Or(env[otelTraces+"PROTOCOL"], env[otelExporter+"PROTOCOL"], otelProtocol)
	if protocol != otelProtocol {
		return o, fmt.Errorf("%sPROTOCOL: traces are not told by %q; set %s, and the port for it, usually 4318", otelExporter, protocol, otelProtocol)
	}
	o = server.TraceOptions{URL: u.String(), Headers: map[string]string{}}
	for pair := range strings.SplitSeq(cmp.Or(env[otelTraces+"HEADERS"], env[otelExporter+"HEADERS"]), ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, "=")
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if !ok || err != nil {
			return o, fmt.Errorf("%sHEADERS: not NAME=VALUE,NAME=VALUE, each value percent-encoded", otelExporter)
		}
		o.Headers[strings.TrimSpace(key)] = value
	}
	return o, nil
}
