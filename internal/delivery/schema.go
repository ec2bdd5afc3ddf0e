package delivery

import "github.com/openkenar/openkenar/internal/schema"

// SchemaValues implements schema.Enumerated.
func (State) SchemaValues() []string {
	return append(schema.Values(States()...), string(Skipped))
}

// States are the states of deliveries; a verdict may also be Skipped.
func States() []State { return []State{Pending, Delivered, Exhausted, Canceled} }
