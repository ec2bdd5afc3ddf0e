package hostapi

import "testing"

// BenchmarkDecode reads a line of a batch.
func BenchmarkDecode(b *testing.B) {
	line := []byte(`{"message":{"conversation":"edbb9499-cccc-4d35-b21f-621fa95f2b3e","id":"e7a08a2c-8ee4-11ef-af85-4e9e9bfa3c12",` +
		`"sender":"BUYER","type":"TEXT","text":"a message of a usual length, to be sent","sent_at":"2024-10-20T13:12:06.14Z"}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseLine(line); err != nil {
			b.Fatal(err)
		}
	}
}
