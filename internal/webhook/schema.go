package webhook

import "github.com/openkenar/openkenar/internal/schema"

// SchemaValues implements schema.Enumerated.
func (FaultKind) SchemaValues() []string { return schema.Values(faultKinds...) }
