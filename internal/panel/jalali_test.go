package panel

import (
	"testing"
	"time"
)

func TestSolarDates(t *testing.T) {
	t.Parallel()
	for at, want := range map[string]solar{
		"1979-02-11": {1357, 11, 22},
		"2000-03-19": {1378, 12, 29},
		"2000-03-20": {1379, 1, 1},
		"2017-03-20": {1395, 12, 30}, // a leap year
		"2017-03-21": {1396, 1, 1},
		"2021-03-20": {1399, 12, 30},
		"2021-03-21": {1400, 1, 1},
		"2024-03-20": {1403, 1, 1},
		"2025-03-20": {1403, 12, 30},
		"2025-03-21": {1404, 1, 1},
		"2024-10-20": {1403, 7, 29},
		"2026-09-22": {1405, 6, 31},
		"2026-09-23": {1405, 7, 1},
		"2029-03-20": {1408, 1, 1},
		"1970-01-01": {1348, 10, 11},
	} {
		day, err := time.Parse(time.DateOnly, at)
		if err != nil {
			t.Fatal(err)
		}
		if got := solarOf(day); got != want {
			t.Errorf("%s is %v, want %v", at, got, want)
		}
	}
}

// TestSolarDaysFollowEachOther goes through two centuries: each day is the next
// of its month, or the first of the next month, and years begin near the spring
// equinox.
func TestSolarDaysFollowEachOther(t *testing.T) {
	t.Parallel()
	last := solarOf(time.Date(1899, 12, 31, 0, 0, 0, 0, time.UTC))
	for day := time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC); day.Year() < 2100; day = day.AddDate(0, 0, 1) {
		now := solarOf(day)
		next := now.year == last.year && now.month == last.month && now.day == last.day+1
		turn := now.year == last.year && now.month == last.month+1 && now.day == 1 && last.day >= 30
		spring := now == solar{last.year + 1, 1, 1} && last.month == 12 && last.day >= 29 && day.Month() == time.March && day.Day() >= 19 && day.Day() <= 22
		if !next && !turn && !spring {
			t.Fatalf("%s is %v, and the day before was %v", day.Format(time.DateOnly), now, last)
		}
		last = now
	}
}
