package cli

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/openkenar/openkenar/internal/wire"
)

type keyCmd struct {
	Create keyCreateCmd `cmd:"" help:"Create an API key of an app and print it, this once."`
	List   keyListCmd   `cmd:"" help:"List the API keys of an app, revoked ones included."`
	Revoke keyRevokeCmd `cmd:"" help:"End an API key at once."`
}

type keyCreateCmd struct {
	App         string   `arg:"" help:"The app."`
	Title       string   `required:"" help:"What it is for." placeholder:"TEXT"`
	Permissions []string `name:"permission" required:"" sep:"none" help:"What it may do, of what its app may. Repeatable." placeholder:"NAME"`
	hostFlags
}

// Run creates a key.
func (k keyCreateCmd) Run(ctx context.Context, c *call) error {
	var out struct {
		ID  string `json:"id"`
		Key string `json:"key"`
	}
	return k.call(ctx, c, hostCall{
		method: http.MethodPost, path: hostPath("apps", k.App, "keys"),
		in:  map[string]any{"title": k.Title, "permissions": k.Permissions},
		out: &out, show: func() string { return c.once(out.Key, "key "+out.ID+" of "+k.App) },
	})
}

type keyListCmd struct {
	App   string `arg:"" help:"The app."`
	After string `help:"Only those after this one." placeholder:"ID"`
	hostFlags
}

// Run lists keys.
func (k keyListCmd) Run(ctx context.Context, c *call) error {
	var out struct {
		Keys []struct {
			ID          string    `json:"id"`
			Title       string    `json:"title"`
			Prefix      string    `json:"prefix"`
			Permissions []string  `json:"permissions"`
			CreatedAt   wire.Time `json:"created_at"`
			LastUsedAt  wire.Time `json:"last_used_at"`
			RevokedAt   wire.Time `json:"revoked_at"`
		} `json:"keys"`
		Next *string `json:"next"`
	}
	return k.call(ctx, c, hostCall{
		method: http.MethodGet, path: hostPath("apps", k.App, "keys"), query: page(k.After), out: &out,
		show: func() string {
			rows := [][]string{{"ID", "TITLE", "KEY", "CREATED", "LAST USED", "REVOKED", "PERMISSIONS"}}
			for _, key := range out.Keys {
				rows = append(rows, []string{
					key.ID, key.Title, key.Prefix + "…", stamp(key.CreatedAt.Time), stamp(key.LastUsedAt.Time),
					stamp(key.RevokedAt.Time), strings.Join(key.Permissions, " "),
				})
			}
			return columns(rows) + more(out.Next)
		},
	})
}

type keyRevokeCmd struct {
	App string `arg:"" help:"The app."`
	ID  string `arg:"" help:"The key's id, as listed."`
	hostFlags
}

// Run revokes a key.
func (k keyRevokeCmd) Run(ctx context.Context, c *call) error {
	return k.call(ctx, c, hostCall{
		method: http.MethodDelete, path: hostPath("apps", k.App, "keys", k.ID),
		show: func() string { return fmt.Sprintf("key %s of %s is revoked\n", plain(k.ID), plain(k.App)) },
	})
}
