package storetest

import "testing"

var settingTests = tests{"a setting is what it was last set to": settings}

func settings(t *testing.T, open opener) {
	l := newLedger(t, open)
	setting := func(name string) string {
		t.Helper()
		value, err := l.Setting(t.Context(), name)
		ok(t, err)
		return value
	}
	same(t, "at first", setting("name"), "")
	for _, value := range []string{"first", "second", ""} {
		ok(t, l.SetSetting(t.Context(), "name", value))
		same(t, "once set", setting("name"), value)
	}
	same(t, "another", setting("another"), "")
}
