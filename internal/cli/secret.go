package cli

import (
	"context"
	"net/http"
	"time"
)

type secretCmd struct {
	Rotate rotateCmd `cmd:"" help:"Make a new webhook signing secret, or OAuth client secret, of an app and print it."`
}

type rotateCmd struct {
	App         string         `arg:"" help:"The app."`
	Client      bool           `xor:"which" help:"The OAuth client secret; the former one ends at once."`
	OlderEndsIn *time.Duration `xor:"which" help:"How long older signing secrets stay valid beside the new one. Default: 24h." placeholder:"DURATION"`
	hostFlags
}

// Run makes a new secret.
func (r rotateCmd) Run(ctx context.Context, c *call) error {
	if r.Client {
		var out struct {
			Secret string `json:"client_secret"`
		}
		return r.call(ctx, c, hostCall{
			method: http.MethodPost, path: hostPath("apps", r.App, "client-secret"), in: struct{}{}, out: &out,
			show: func() string { return c.once(out.Secret, "the OAuth client secret of "+r.App) },
		})
	}
	in := map[string]string{}
	if r.OlderEndsIn != nil {
		in["older_ends_in"] = r.OlderEndsIn.String()
	}
	var out struct {
		Secret string `json:"secret"`
	}
	return r.call(ctx, c, hostCall{
		method: http.MethodPost, path: hostPath("apps", r.App, "signing-secrets"), in: in, out: &out,
		show: func() string { return plain(out.Secret) + "\n" },
	})
}
