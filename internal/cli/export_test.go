package cli

import (
	"context"
	"fmt"
	"io"
)

// Parse takes a command line apart as Run does, and carries nothing out.
func Parse(ctx context.Context, args []string, env map[string]string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the command line ends the program: %v", r)
		}
	}()
	parser, err := newParser(ctx, env, Streams{Out: io.Discard, Err: io.Discard})
	if err != nil {
		return err
	}
	_, err = parser.Parse(args)
	return err
}
