package cli

import (
	"maps"
	"testing"
)

func TestTraceOptions(t *testing.T) {
	t.Parallel()
	const endpoint, traces = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	for name, c := range map[string]struct {
		env     map[string]string
		url     string
		headers map[string]string
	}{
		"none":                     {},
		"of everything":            {env: map[string]string{endpoint: "http://c:4318"}, url: "http://c:4318/v1/traces"},
		"of everything, below /o":  {env: map[string]string{endpoint: "https://c/o/"}, url: "https://c/o/v1/traces"},
		"of traces, as it is":      {env: map[string]string{endpoint: "http://c", traces: "http://t/x"}, url: "http://t/x"},
		"switched off":             {env: map[string]string{endpoint: "http://c", "OTEL_SDK_DISABLED": "true"}},
		"switched off for traces":  {env: map[string]string{endpoint: "http://c", "OTEL_TRACES_EXPORTER": "none"}},
		"metrics have their own":   {env: map[string]string{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c"}},
		"with headers, as encoded": {env: map[string]string{traces: "http://t", "OTEL_EXPORTER_OTLP_HEADERS": "a=b%20c, d=e=f"}, url: "http://t", headers: map[string]string{"a": "b c", "d": "e=f"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, err := traceOptions(c.env)
			if err != nil {
				t.Fatal(err)
			}
			if o.URL != c.url || !maps.Equal(o.Headers, c.headers) {
				t.Errorf("%q %q, want %q %q", o.URL, o.Headers, c.url, c.headers)
			}
		})
	}
	for _, headers := range []string{"a", "a=%zz"} {
		if _, err := traceOptions(map[string]string{traces: "http://t", "OTEL_EXPORTER_OTLP_HEADERS": headers}); err == nil {
			t.Errorf("headers %q are taken", headers)
		}
	}
}
