package storetest

import (
	"strconv"
	"sync"
	"testing"
)

var settingTests = tests{
	"a setting is what it was last set to":     settings,
	"of those who keep a setting one is first": keptSettings,
}

func keptSettings(t *testing.T, open opener) {
	l := newLedger(t, open)
	kept := make([]string, 20)
	var keeping sync.WaitGroup
	for i := range kept {
		keeping.Go(func() {
			var err error
			if kept[i], err = l.KeepSetting(t.Context(), "name", strconv.Itoa(i)); err != nil {
				t.Error(err)
			}
		})
	}
	keeping.Wait()
	value, err := l.Setting(t.Context(), "name")
	ok(t, err)
	for _, k := range kept {
		same(t, "what stays", k, value)
	}
}

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
