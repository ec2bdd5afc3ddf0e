package panel

import "time"

// solar is a date of the solar calendar, in which Persian pages show dates.
type solar struct {
	year, month, day int // month and day from 1
}

// breaks are the years of the solar calendar at which its pattern of leap years
// changes. They are those of K. Borkowski, "The Persian calendar for 3000
// years" (Earth, Moon and Planets 74, 1996), and hold until the year 3177.
var breaks = [...]int{
	-61, 9, 38, 199, 426, 686, 756, 818, 1111, 1181, 1210, 1635, 2060, 2097, 2192, 2262, 2324, 2394, 2456, 3178,
}

// newYear returns on which day of March of the Gregorian year a solar year
// begins.
func newYear(year int) (march int) {
	leaps, last, jump := -14, breaks[0], 0
	for _, b := range breaks[1:] {
		jump = b - last
		if year < b {
			break
		}
		leaps += jump/33*8 + jump%33/4
		last = b
	}
	n := year - last
	leaps += n/33*8 + (n%33+3)/4
	if jump%33 == 4 && jump-n == 4 {
		leaps++
	}
	gregorian := year + 621
	return 20 + leaps - (gregorian/4 - (gregorian/100+1)*3/4 - 150)
}

// solarOf returns the solar date of a moment, in the moment's own time zone.
func solarOf(t time.Time) solar {
	year, month, day := t.Date()
	at := time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	s := solar{year: year - 621}
	march := newYear(s.year)
	passed := int(at.Sub(time.Date(year, time.March, march, 0, 0, 0, 0, time.UTC)) / (24 * time.Hour))
	if passed < 0 {
		s.year--
		march = newYear(s.year)
		passed = int(at.Sub(time.Date(year-1, time.March, march, 0, 0, 0, 0, time.UTC)) / (24 * time.Hour))
	}
	if passed < 6*31 {
		s.month, s.day = passed/31+1, passed%31+1
		return s
	}
	passed -= 6 * 31
	s.month, s.day = passed/30+7, passed%30+1
	return s
}

var solarMonths = [...]string{
	"فروردین", "اردیبهشت", "خرداد", "تیر", "مرداد", "شهریور", "مهر", "آبان", "آذر", "دی", "بهمن", "اسفند",
}
