package calendar

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

var weekdayNames = [7]string{"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"}

var errEmpty = errors.New("is empty")

func parse(s string) (Expr, error) {
	var e Expr
	if s == "" {
		return e, errEmpty
	}
	if len(s) > maxLength {
		return e, fmt.Errorf("is longer than %d bytes", maxLength)
	}
	if s = e.cutZone(s); s == "" {
		return e, errEmpty
	}
	if long, ok := shorthand(s); ok {
		s = long
	}
	p := parser{rest: s}
	e.weekdays = p.weekdays()
	p.date(&e)
	p.time(&e)
	if p.err == nil && p.rest != "" {
		p.failf("%q is left over at its end", p.rest)
	}
	if p.err != nil {
		return e, p.err
	}
	e.normalize()
	return e, e.check()
}

// cutZone takes a zone off the end. What is no known zone stays and fails as a time later, as in systemd.
func (e *Expr) cutZone(s string) string {
	i := strings.LastIndexByte(s, ' ')
	if i < 0 {
		return s
	}
	name := s[i+1:]
	if strings.EqualFold(name, "UTC") {
		e.zone, e.zoneSuffix = time.UTC, "UTC"
		return s[:i]
	}
	if !zoneName(name) {
		return s
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return s
	}
	e.zone, e.zoneSuffix = zone, name
	return s[:i]
}

// zoneName refuses what time.LoadLocation takes but is no name of the database, and what looks like a path.
func zoneName(s string) bool {
	if s == "" || s == "Local" || s[0] == '/' || strings.Contains(s, "..") || strings.Contains(s, "//") {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_+/", r)
	}) < 0 && s[0] > '9'
}

// parser reads an expression from the left; its first error stays.
type parser struct {
	rest string
	err  error
}

func (p *parser) failf(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
}

func (p *parser) skipSpaces() { p.rest = strings.TrimLeft(p.rest, " ") }

// at tells whether what is left starts with one of the bytes, or is empty.
func (p *parser) atEndOr(bytes string) bool {
	return p.rest == "" || strings.IndexByte(bytes, p.rest[0]) >= 0
}

// weekday reads one name at the start of what is left; ok is false when there is none.
func (p *parser) weekday() (day int, ok bool) {
	for d, name := range weekdayNames {
		for _, n := range []string{name, name[:3]} {
			if len(p.rest) < len(n) || !strings.EqualFold(p.rest[:len(n)], n) {
				continue
			}
			p.rest = p.rest[len(n):]
			if !p.atEndOr("-., ") {
				p.failf("%q is not a weekday", n+p.rest)
			}
			return d, true
		}
	}
	return 0, false
}

// weekdays reads Mon,Wed..Fri and what stands between it and the date.
func (p *parser) weekdays() (bits uint8) {
	from := -1 // An open range's first day.
	for first := true; p.err == nil; first = false {
		day, ok := p.weekday()
		if !ok {
			if !first {
				p.failf("%q is not a weekday", p.rest)
			}
			return bits
		}
		bits |= 1 << day
		if from > day {
			p.failf("a range of weekdays goes backward")
		}
		for d := from; d >= 0 && d < day; d++ {
			bits |= 1 << d
		}
		switch was := from; {
		case p.atEndOr(" "):
			p.skipSpaces()
			return bits
		case p.rest[0] == ',':
			from, p.rest = -1, p.rest[1:]
		case was >= 0:
			p.failf("a range of weekdays has three ends")
		case strings.HasPrefix(p.rest, ".."):
			from, p.rest = day, p.rest[2:]
		case p.rest[0] == '-': // The old form of "..".
			from, p.rest = day, p.rest[1:]
		default:
			p.failf("%q after a weekday", p.rest)
		}
		if p.atEndOr(" ") { // A trailing comma is allowed, an open range is not.
			if from >= 0 {
				p.failf("a range of weekdays has no end")
			}
			p.skipSpaces()
			return bits
		}
	}
	return bits
}

// date reads [[YEAR-]MONTH-]DAY and the spaces behind it, or nothing when what follows is a time.
func (p *parser) date(e *Expr) {
	if p.err != nil || p.rest == "" {
		return
	}
	if p.rest[0] == '@' {
		p.timestamp(e)
		return
	}
	start := p.rest
	first := p.chain(false)
	if p.err != nil {
		return
	}
	if p.atEndOr(":") { // It was the hour.
		p.rest = start
		return
	}
	e.fromEnd = p.dash()
	second := p.chain(false)
	if p.err == nil && p.atEndOr(" ") {
		e.month, e.day = first, second
		p.skipSpaces()
		return
	}
	if e.fromEnd {
		p.failf("~ stands before the day only")
	}
	e.fromEnd = p.dash()
	e.year, e.month, e.day = first, second, p.chain(false)
	if !p.atEndOr(" ") {
		p.failf("%q after the date", p.rest)
	}
	p.skipSpaces()
}

// dash reads the sign between two parts of a date and tells whether it is "~".
func (p *parser) dash() (fromEnd bool) {
	if p.err != nil {
		return false
	}
	if p.rest == "" || (p.rest[0] != '-' && p.rest[0] != '~') {
		p.failf("%q where - or ~ was expected", p.rest)
		return false
	}
	fromEnd = p.rest[0] == '~'
	p.rest = p.rest[1:]
	return fromEnd
}

// timestamp reads @SECONDS since 1970, one point in time in UTC.
func (p *parser) timestamp(e *Expr) {
	p.rest = p.rest[1:]
	n := p.number(1 << 40)
	if p.rest != "" {
		p.failf("%q after a timestamp", p.rest)
	}
	t := time.Unix(int64(n), 0).UTC()
	one := func(v int) chain { return chain{{v, -1, 0}} }
	e.year, e.month, e.day = one(t.Year()), one(int(t.Month())), one(t.Day())
	e.hour, e.minute, e.micros = one(t.Hour()), one(t.Minute()), one(t.Second()*second)
	e.zone, e.zoneSuffix = time.UTC, "UTC"
}

// time reads HOUR:MINUTE[:SECOND]; nothing means midnight.
func (p *parser) time(e *Expr) {
	if p.err != nil || e.micros != nil {
		return
	}
	zero := chain{{0, -1, 0}}
	if p.rest == "" {
		e.hour, e.minute, e.micros = zero, zero, zero
		return
	}
	e.hour = p.chain(false)
	p.colon()
	e.minute = p.chain(false)
	if p.rest == "" {
		e.micros = zero
		return
	}
	p.colon()
	e.micros = p.chain(true)
}

func (p *parser) colon() {
	if p.err != nil {
		return
	}
	if p.rest == "" || p.rest[0] != ':' {
		p.failf("%q where : was expected", p.rest)
		return
	}
	p.rest = p.rest[1:]
}

// chain reads * or a list of items.
func (p *parser) chain(micros bool) chain {
	if p.err != nil {
		return nil
	}
	if strings.HasPrefix(p.rest, "*") {
		p.rest = p.rest[1:]
		if micros {
			return chain{{0, -1, second}}
		}
		return nil
	}
	var c chain
	for p.err == nil {
		c = append(c, p.item(micros))
		if p.rest == "" || p.rest[0] != ',' {
			break
		}
		if len(c) > maxItems {
			p.failf("a list has more than %d values", maxItems)
		}
		p.rest = p.rest[1:]
	}
	return c
}

func (p *parser) item(micros bool) item {
	it := item{start: p.amount(micros), stop: -1}
	if strings.HasPrefix(p.rest, "..") {
		p.rest = p.rest[2:]
		it.stop, it.repeat = p.amount(micros), 1
		if micros {
			it.repeat = second
		}
	}
	if strings.HasPrefix(p.rest, "/") {
		p.rest = p.rest[1:]
		if it.repeat = p.amount(micros); it.repeat == 0 {
			p.failf("a repetition of zero")
		}
	} else if micros && it.stop >= 0 && it.start+it.repeat > it.stop {
		p.failf("a range of seconds below one second needs a repetition")
	}
	if !p.atEndOr(" ,-~:") {
		p.failf("%q after a value", p.rest)
	}
	return it
}

// maxAmount is the largest number of an item (systemd keeps them as C int).
const maxAmount = 1<<31 - 1

// amount reads a whole number, or seconds with fractions as microseconds.
func (p *parser) amount(micros bool) int {
	n := p.number(maxAmount)
	if !micros {
		return n
	}
	if n *= second; n > maxAmount {
		p.failf("a value is out of range")
	}
	if strings.HasPrefix(p.rest, ".") && !strings.HasPrefix(p.rest, "..") {
		p.rest = p.rest[1:]
		n += p.fraction()
	}
	if n > maxAmount {
		p.failf("a value is out of range")
	}
	return n
}

// fraction reads the digits behind the point, rounded to microseconds.
func (p *parser) fraction() int {
	digits, n := 0, 0
	for ; p.rest != "" && isDigit(p.rest[0]); p.rest = p.rest[1:] {
		switch d := int(p.rest[0] - '0'); {
		case digits < 6:
			n = n*10 + d
		case digits == 6 && d >= 5:
			n++
		}
		digits++
	}
	if digits == 0 {
		p.failf("no digits behind the point")
	}
	for ; digits < 6; digits++ {
		n *= 10
	}
	return n
}

func (p *parser) number(limit int) int {
	if p.err != nil {
		return 0
	}
	if p.rest == "" || !isDigit(p.rest[0]) {
		p.failf("%q where a number was expected", p.rest)
		return 0
	}
	n := 0
	for ; p.rest != "" && isDigit(p.rest[0]); p.rest = p.rest[1:] {
		if n = n*10 + int(p.rest[0]-'0'); n > limit {
			p.failf("a value is out of range")
			return 0
		}
	}
	return n
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// normalize brings equal expressions to one form (systemd: calendar_spec_normalize).
func (e *Expr) normalize() {
	if e.weekdays == 1<<7-1 {
		e.weekdays = 0
	}
	if e.day == nil {
		e.fromEnd = false
	}
	for i := range e.year {
		e.year[i].start = century(e.year[i].start)
		e.year[i].stop = century(e.year[i].stop)
	}
	for _, c := range []*chain{&e.year, &e.month, &e.day, &e.hour, &e.minute, &e.micros} {
		*c = c.normal()
	}
}

// century makes 70..99 the years of the last century and 0..69 those of this one.
func century(year int) int {
	switch {
	case year >= 0 && year < 70:
		return year + 2000
	case year >= 70 && year < 100:
		return year + 1900
	}
	return year
}

func (c chain) normal() chain {
	for i := range c {
		it := &c[i]
		if it.stop > it.start && it.repeat > 0 {
			it.stop -= (it.stop - it.start) % it.repeat
		}
		if it.start == it.stop {
			it.stop, it.repeat = -1, 0
		}
	}
	slices.SortFunc(c, func(a, b item) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.stop, b.stop), cmp.Compare(a.repeat, b.repeat))
	})
	return slices.Compact(c)
}

// check refuses values that no date has (systemd: calendar_spec_valid).
func (e *Expr) check() error {
	parts := []struct {
		name     string
		c        chain
		from, to int
		fromEnd  bool
	}{
		{"year", e.year, firstYear, lastYear, false},
		{"month", e.month, 1, 12, false},
		{"day", e.day, 1, 31, e.fromEnd},
		{"hour", e.hour, 0, 23, false},
		{"minute", e.minute, 0, 59, false},
		{"second", e.micros, 0, 60*second - 1, false},
	}
	for _, p := range parts {
		to := p.to
		for _, it := range p.c {
			if p.fromEnd {
				to -= 3 // Every month has 28 days. Once for each value: so does systemd, which refuses ~2,27.
			}
			if !it.within(p.from, to, p.fromEnd) {
				return fmt.Errorf("a %s is out of range, or a range or repetition that can never come", p.name)
			}
		}
	}
	return nil
}

func (it item) within(from, to int, fromEnd bool) bool {
	if it.start < from || it.start > to || it.repeat > to-from {
		return false
	}
	switch {
	case it.stop >= 0:
		return it.stop >= from && it.stop <= to && it.start+it.repeat <= it.stop
	case fromEnd:
		return it.start-it.repeat >= from
	}
	return it.start+it.repeat <= to
}
