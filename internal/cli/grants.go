package cli

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/openkenar/openkenar/internal/wire"
)

type grantsCmd struct {
	List   grantsListCmd   `cmd:"" help:"List what a user gave apps access to."`
	Revoke grantsRevokeCmd `cmd:"" help:"Take an app's access to a user away."`
}

type grantsListCmd struct {
	User string `arg:"" help:"The user, by the marketplace's id."`
	hostFlags
}

// Run lists grants.
func (g grantsListCmd) Run(ctx context.Context, c *call) error {
	var out struct {
		Grants []struct {
			App       string    `json:"app"`
			Scopes    []string  `json:"scopes"`
			GrantedAt wire.Time `json:"granted_at"`
		} `json:"grants"`
	}
	return g.call(ctx, c, hostCall{
		method: http.MethodGet, path: hostPath("users", g.User, "grants"), out: &out,
		show: func() string {
			rows := [][]string{{"APP", "GRANTED", "SCOPES"}}
			for _, grant := range out.Grants {
				rows = append(rows, []string{grant.App, stamp(grant.GrantedAt.Time), strings.Join(grant.Scopes, " ")})
			}
			return columns(rows)
		},
	})
}

type grantsRevokeCmd struct {
	User string `arg:"" help:"The user, by the marketplace's id."`
	App  string `arg:"" help:"The app."`
	hostFlags
}

// Run revokes a grant.
func (g grantsRevokeCmd) Run(ctx context.Context, c *call) error {
	return g.call(ctx, c, hostCall{
		method: http.MethodDelete, path: hostPath("users", g.User, "grants", g.App),
		show: func() string { return fmt.Sprintf("%s has no access to %s\n", plain(g.App), plain(g.User)) },
	})
}
