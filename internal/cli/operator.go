package cli

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
)

type operatorCmd struct {
	Create   operatorCreateCmd   `cmd:"" help:"Make an account that may do everything in the panel, and print its password, this once."`
	Password operatorPasswordCmd `cmd:"" help:"Replace the password of an account of the panel; whoever is signed in with the old one is no longer."`
}

// passwordFlags say which password an account gets.
type passwordFlags struct {
	PasswordFile string `help:"File with the password. Default: one is made, and printed." placeholder:"FILE"`
}

// password is the one that the file holds, "" without a file.
func (p passwordFlags) password() (string, error) {
	if p.PasswordFile == "" {
		return "", nil
	}
	text, err := os.ReadFile(p.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("password: %w", err)
	}
	password := strings.TrimRight(string(text), "\r\n")
	if password == "" {
		return "", fmt.Errorf("password: %s is empty", p.PasswordFile)
	}
	return password, nil
}

// made is what the server has made.
type madeAccount struct {
	Name     string  `json:"name"`
	Password *string `json:"password"`
}

func (m *madeAccount) show(c *call, done string) string {
	if m.Password != nil {
		return c.once(*m.Password, "the password of "+m.Name)
	}
	return done + "\n"
}

type operatorCreateCmd struct {
	Name string `arg:"" help:"The name to sign in with."`
	passwordFlags
	hostFlags
}

// Run makes an operator.
func (o operatorCreateCmd) Run(ctx context.Context, c *call) error {
	password, err := o.password()
	if err != nil {
		return err
	}
	var out madeAccount
	return o.call(ctx, c, hostCall{
		method: http.MethodPost, path: hostPath("operators"), in: map[string]string{"name": o.Name, "password": password}, out: &out,
		show: func() string {
			return out.show(c, "operator "+plain(o.Name)+" can sign in at "+string(o.Server)+"/panel/")
		},
	})
}

type operatorPasswordCmd struct {
	Name string `arg:"" help:"The account."`
	passwordFlags
	hostFlags
}

// Run replaces a password.
func (o operatorPasswordCmd) Run(ctx context.Context, c *call) error {
	password, err := o.password()
	if err != nil {
		return err
	}
	var out madeAccount
	return o.call(ctx, c, hostCall{
		method: http.MethodPut, path: hostPath("operators", o.Name, "password"), in: map[string]string{"password": password}, out: &out,
		show: func() string { return out.show(c, "the password of "+plain(o.Name)+" is replaced") },
	})
}
