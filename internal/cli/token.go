package cli

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

type tokenCmd struct {
	Create tokenCreateCmd `cmd:"" help:"Make an access token without a consent and print it, this once; the server must run in dev mode."`
}

type tokenCreateCmd struct {
	App    string         `arg:"" help:"The app that gets it."`
	User   string         `arg:"" help:"The user it is for, by the marketplace's id."`
	Scopes []string       `name:"scope" required:"" sep:"none" help:"What it gives access to. Repeatable." placeholder:"NAME[.ID]"`
	TTL    *time.Duration `name:"ttl" help:"How long it lives. Default: 1h." placeholder:"DURATION"`
	hostFlags
}

// Run makes a token.
func (t tokenCreateCmd) Run(ctx context.Context, c *call) error {
	in := map[string]any{"app": t.App, "user": t.User, "scopes": t.Scopes}
	if t.TTL != nil {
		in["ttl"] = t.TTL.String()
	}
	var out struct {
		Token     string `json:"access_token"`
		ExpiresIn int64  `json:"expires_in"`
	}
	return t.call(ctx, c, hostCall{
		method: http.MethodPost, path: hostPath("dev", "tokens"), in: in, out: &out,
		show: func() string {
			return c.once(out.Token, fmt.Sprintf("a token of %s for %s that lives %s", t.App, t.User, time.Duration(out.ExpiresIn)*time.Second))
		},
	})
}
