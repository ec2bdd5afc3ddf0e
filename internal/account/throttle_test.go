package account

import (
	"fmt"
	"testing"
	"time"
)

// TestThrottle tries until it is refused, waits as long as it is told, and is let
// through once.
func TestThrottle(t *testing.T) {
	t.Parallel()
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	th := newThrottle(3, time.Minute)
	for n := range 3 {
		if wait := th.take("name", now); wait != 0 {
			t.Fatalf("try %d has to wait %s", n, wait)
		}
	}
	wait := th.take("name", now)
	if wait != time.Minute {
		t.Errorf("the fourth waits %s", wait)
	}
	if early := th.take("name", now.Add(wait-time.Second)); early.Round(time.Millisecond) != time.Second {
		t.Errorf("a second before that it waits %s", early)
	}
	now = now.Add(wait)
	if wait := th.take("name", now); wait != 0 {
		t.Errorf("after that it waits %s", wait)
	}
	if th.take("name", now) == 0 {
		t.Error("and once more it is let through")
	}
	th.give("name", now)
	if wait := th.take("name", now); wait != 0 {
		t.Errorf("what was taken back counts: %s", wait)
	}
	if wait := th.take("name", now.Add(-time.Hour)); wait == 0 {
		t.Error("a clock that goes back lets through")
	}
	now = now.Add(time.Hour)
	free := 0
	for n := range 1000 { // names that share a bucket slow each other down; most do not
		if th.take(fmt.Sprintf("name-%d", n), now) == 0 {
			free++
		}
	}
	if free < 900 {
		t.Errorf("only %d of 1000 names are free", free)
	}
}

func TestPasswords(t *testing.T) {
	t.Parallel()
	a := &Accounts{hashing: make(chan struct{}, 1)}
	kept, err := a.hashPassword(t.Context(), "a few words are enough")
	if err != nil {
		t.Fatal(err)
	}
	for password, want := range map[string]bool{"a few words are enough": true, "a few words are enougH": false, "": false} {
		if is, err := a.isPassword(t.Context(), kept, password); is != want || err != nil {
			t.Errorf("%q: %t, %v", password, is, err)
		}
	}
	again, err := a.hashPassword(t.Context(), "a few words are enough")
	if err != nil || again == kept {
		t.Errorf("the same password is kept as the same text; %v", err)
	}
	if is, err := a.isPassword(t.Context(), decoy, ""); is || err != nil {
		t.Errorf("the decoy has a password: %t, %v", is, err)
	}
	for _, broken := range []string{"", "$argon2id$", "$argon2i$v=19$m=19456,t=2,p=1$AAAA$AAAA", "$argon2id$v=18$m=8,t=1,p=1$AAAA$AAAA", "$argon2id$v=19$m=8,t=1,p=1$AAAA$"} {
		if is, err := a.isPassword(t.Context(), broken, ""); is || err == nil {
			t.Errorf("%q is a password: %t, %v", broken, is, err)
		}
	}
}
