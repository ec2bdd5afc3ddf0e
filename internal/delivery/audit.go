package delivery

// maxFindings is how many findings an audit lists; all are counted.
const maxFindings = 100

// Audit is the proof that what was accepted is accounted for: every event has
// as many verdicts as its fan-out made, every thing that happened has its
// event, and every delivery is delivered, pending, or explained by a reason.
type Audit struct {
	Events    int64 `json:"events"`
	Accepted  int64 `json:"accepted"` // verdicts that fan-out made: deliveries and skips
	Delivered int64 `json:"delivered"`
	Pending   int64 `json:"pending"`
	Exhausted int64 `json:"exhausted"`
	Canceled  int64 `json:"canceled"`
	Skipped   int64 `json:"skipped"`
	Attempts  int64 `json:"attempts"` // that the log holds

	Unaccounted int64    `json:"unaccounted"`
	Findings    []string `json:"findings"` // the first of them, in words
}

// Explained is how many have ended otherwise than delivered, with the reason
// written down.
func (a Audit) Explained() int64 { return a.Exhausted + a.Canceled + a.Skipped }

// Find notes something that is not accounted for.
func (a *Audit) Find(finding string) {
	a.Unaccounted++
	if len(a.Findings) < maxFindings {
		a.Findings = append(a.Findings, finding)
	}
}
