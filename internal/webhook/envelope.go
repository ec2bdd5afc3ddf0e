package webhook

// Envelope is the body of a webhook (contract section 6): the type, the
// metadata that the app registered (left out when empty), and the payload
// under each of the given fields. Metadata and payload are JSON as stored and
// are copied as they are, so an envelope is never encoded twice.
func Envelope(typ string, metadata, payload []byte, fields ...string) []byte {
	size := len(`{"type":""}`) + len(typ) + len(`,"metadata":`) + len(metadata)
	for _, f := range fields {
		size += len(`,"":`) + len(f) + len(payload)
	}
	b := make([]byte, 0, size)
	b = append(b, `{"type":"`...)
	b = append(b, typ...)
	b = append(b, '"')
	if len(metadata) > 0 {
		b = append(b, `,"metadata":`...)
		b = append(b, metadata...)
	}
	for _, f := range fields {
		b = append(b, `,"`...)
		b = append(b, f...)
		b = append(b, `":`...)
		b = append(b, payload...)
	}
	return append(b, '}')
}
