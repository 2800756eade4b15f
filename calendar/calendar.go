// Package calendar reads systemd's calendar expressions (OnCalendar= of systemd.timer(5), the grammar of
// systemd.time(7)), writes them in the normalised form that systemd-analyze calendar prints, and finds the
// next time that matches. It holds no clock: times come in as arguments. What a timer does when its time
// has come is left to the runtimes.
package calendar

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // A static binary knows the zones also where the machine has no zoneinfo.
)

// Years that an expression may name, and in which Next looks, as in systemd.
const (
	firstYear = 1970
	lastYear  = 2199
)

// maxItems bounds one list such as 1,2,3 (systemd: CALENDARSPEC_COMPONENTS_MAX).
const maxItems = 240

// maxLength bounds an expression: one that is longer is a mistake.
const maxLength = 4096

// second is one second in the microseconds that the seconds component is kept in.
const second = 1_000_000

// Expr is one parsed expression. The zero Expr matches every second; make one with Parse.
type Expr struct {
	weekdays   uint8 // Bit 0 is Monday; 0: every day.
	year       chain
	month      chain
	day        chain
	fromEnd    bool // "~": days count back from the end of the month.
	hour       chain
	minute     chain
	micros     chain // Seconds, in microseconds.
	zone       *time.Location
	zoneSuffix string // As written; empty: the zone of the time that Next is given.
}

// item is one value of a list: start, start..stop, start/repeat or start..stop/repeat.
type item struct {
	start, stop, repeat int // stop -1: open. repeat 0: start only.
}

// chain is a list of items; nil is "*".
type chain []item

// shorthands of systemd.time(7); systemd also takes the misspelt and hyphenated ones.
func shorthand(s string) (string, bool) {
	switch strings.ToLower(s) {
	case "minutely":
		return "*-*-* *:*:00", true
	case "hourly":
		return "*-*-* *:00:00", true
	case "daily":
		return "*-*-* 00:00:00", true
	case "weekly":
		return "Mon *-*-* 00:00:00", true
	case "monthly":
		return "*-*-01 00:00:00", true
	case "quarterly":
		return "*-01,04,07,10-01 00:00:00", true
	case "semiannually", "semi-annually", "biannually", "bi-annually":
		return "*-01,07-01 00:00:00", true
	case "yearly", "annually", "anually":
		return "*-01-01 00:00:00", true
	}
	return "", false
}

// Parse reads one expression. Zones are UTC and the names of the IANA database; without one the expression
// is read in the zone of the time that Next is given, as systemd reads it in the local zone.
func Parse(s string) (Expr, error) {
	e, err := parse(s)
	if err != nil {
		if len(s) > 100 {
			s = s[:100] + "…"
		}
		return Expr{}, fmt.Errorf("calendar expression %q: %w", s, err)
	}
	return e, nil
}

// String is the normalised form, as systemd-analyze calendar prints it.
func (e Expr) String() string {
	var b strings.Builder
	if e.weekdays != 0 {
		writeWeekdays(&b, e.weekdays)
		b.WriteByte(' ')
	}
	writeChain(&b, e.year, 4, 1)
	b.WriteByte('-')
	writeChain(&b, e.month, 2, 1)
	if e.fromEnd {
		b.WriteByte('~')
	} else {
		b.WriteByte('-')
	}
	writeChain(&b, e.day, 2, 1)
	b.WriteByte(' ')
	writeChain(&b, e.hour, 2, 1)
	b.WriteByte(':')
	writeChain(&b, e.minute, 2, 1)
	b.WriteByte(':')
	writeChain(&b, e.micros, 2, second)
	if e.zoneSuffix != "" {
		b.WriteString(" " + e.zoneSuffix)
	}
	return b.String()
}

func writeWeekdays(b *strings.Builder, days uint8) {
	comma := false
	for d := 0; d < 7; d++ {
		if days&(1<<d) == 0 {
			continue
		}
		last := d
		for last+1 < 7 && days&(1<<(last+1)) != 0 {
			last++
		}
		if comma {
			b.WriteByte(',')
		}
		comma = true
		b.WriteString(weekdayNames[d][:3])
		if last > d {
			if last > d+1 {
				b.WriteString("..")
			} else {
				b.WriteByte(',')
			}
			b.WriteString(weekdayNames[last][:3])
		}
		d = last
	}
}

// writeChain writes a list; width is the number of digits, unit 1 or one second in microseconds.
func writeChain(b *strings.Builder, c chain, width, unit int) {
	if c == nil || (unit == second && len(c) == 1 && c[0].start == 0 && c[0].stop < 0 && c[0].repeat == second) {
		b.WriteByte('*')
		return
	}
	for i, it := range c {
		if i > 0 {
			b.WriteByte(',')
		}
		writeNumber(b, it.start, width, unit)
		if it.stop > 0 {
			b.WriteString("..")
			writeNumber(b, it.stop, width, unit)
		}
		if it.repeat > 0 && (it.stop <= 0 || it.repeat != unit) {
			b.WriteByte('/')
			writeNumber(b, it.repeat, 1, unit)
		}
	}
}

func writeNumber(b *strings.Builder, n, width, unit int) {
	fmt.Fprintf(b, "%0*d", width, n/unit)
	if n%unit > 0 {
		fmt.Fprintf(b, ".%06d", n%unit)
	}
}
