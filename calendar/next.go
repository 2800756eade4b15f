package calendar

import "time"

// maxSteps bounds one search; the year bound ends every search long before.
const maxSteps = 200_000

// wall is a time as a clock on the wall shows it; fields may overflow until normalised.
type wall struct {
	year, month, day, hour, minute int
	micros                         int // Of the minute.
}

func wallOf(t time.Time) wall {
	return wall{t.Year(), int(t.Month()), t.Day(), t.Hour(), t.Minute(), t.Second()*second + t.Nanosecond()/1000}
}

// utc reads the wall clock as if it hung in Greenwich: plain calendar arithmetic.
func (w wall) utc() time.Time {
	return time.Date(w.year, time.Month(w.month), w.day, w.hour, w.minute, w.micros/second, w.micros%second*1000, time.UTC)
}

// normal brings overflowing fields (the 32nd, minute 60) back into range.
func (w wall) normal() wall { return wallOf(w.utc()) }

// Next is the first time after the given one that matches; false when there is none before the year 2200.
// A local time that a change of the clocks leaves out is passed over, one that comes twice counts once
// (its first coming, or its second when after lies between the two), both as in systemd.
// The result is in the zone of the expression, or of after when it has none.
func (e Expr) Next(after time.Time) (time.Time, bool) {
	zone := e.zone
	if zone == nil {
		zone = after.Location()
	}
	after = after.Truncate(time.Microsecond).In(zone)
	w := wallOf(after.Add(time.Microsecond))
	for range maxSteps {
		var found bool
		if w, found = e.step(w.normal()); !found {
			if w.year > lastYear {
				return time.Time{}, false
			}
			continue
		}
		t, ok := instant(w, zone, after)
		if ok {
			return t, true
		}
		w = wallOf(t)
	}
	return time.Time{}, false
}

// instant finds when the wall clock of a zone shows w: the first time after the given one.
// When it never does, because the clocks were put forward over it, ok is false and the time is the first
// behind the gap.
func instant(w wall, zone *time.Location, after time.Time) (t time.Time, ok bool) {
	local := w.utc()
	var best time.Time
	// The offsets in force a day before and after are all that can apply: no zone changes twice within two days.
	for _, around := range []time.Duration{-26 * time.Hour, 26 * time.Hour} {
		_, offset := local.Add(around).In(zone).Zone()
		c := local.Add(-time.Duration(offset) * time.Second).In(zone)
		if wallOf(c) == w && c.After(after) && (best.IsZero() || c.Before(best)) {
			best = c
		}
	}
	if !best.IsZero() {
		return best, true
	}
	return behindGap(local, zone, after), false
}

// behindGap is the first time at or after both whose wall clock shows more than local.
func behindGap(local time.Time, zone *time.Location, after time.Time) time.Time {
	lo := local.Add(-26 * time.Hour).In(zone)
	if _, end := lo.ZoneBounds(); !end.IsZero() && end.After(after) && wallOf(end).utc().After(local) {
		return end
	}
	return after.Add(time.Second).In(zone)
}

// step moves w forward to the first field that does not match. found means that every field matches.
// When a field was carried (its list has no more values), w is to be normalised and looked at again.
func (e *Expr) step(w wall) (next wall, found bool) {
	v, r := e.year.find(w.year, lastYear)
	if r == none || v > lastYear {
		return wall{year: lastYear + 1, month: 1, day: 1}, false
	}
	if r == moved {
		w = wall{year: v, month: 1, day: 1}
	}
	switch v, r = e.month.find(w.month, 12); r {
	case none:
		return wall{year: w.year + 1, month: 1, day: 1}, false
	case moved:
		w = wall{year: w.year, month: v, day: 1}
	}
	days := daysIn(w.year, w.month)
	switch v, r = e.days(days).find(w.day, 31); {
	case r == none || v > days: // Or a fixed day that this month does not have.
		return wall{year: w.year, month: w.month + 1, day: 1}, false
	case r == moved:
		w = wall{year: w.year, month: w.month, day: v}
	}
	if e.weekdays != 0 && e.weekdays&(1<<((int(w.utc().Weekday())+6)%7)) == 0 {
		return wall{year: w.year, month: w.month, day: w.day + 1}, false
	}
	switch v, r = e.hour.find(w.hour, 23); r {
	case none:
		return wall{year: w.year, month: w.month, day: w.day + 1}, false
	case moved:
		w.hour, w.minute, w.micros = v, 0, 0
	}
	switch v, r = e.minute.find(w.minute, 59); r {
	case none:
		w.hour, w.minute, w.micros = w.hour+1, 0, 0
		return w, false
	case moved:
		w.minute, w.micros = v, 0
	}
	if v, r = e.micros.find(w.micros, 60*second-1); r == none {
		w.minute, w.micros = w.minute+1, 0
		return w, false
	}
	w.micros = v
	return w, true
}

func daysIn(year, month int) int {
	return time.Date(year, time.Month(month+1), 0, 0, 0, 0, 0, time.UTC).Day()
}

// days gives the list of days of a month with so many days; ~N counts back from its end.
func (e *Expr) days(days int) chain {
	if !e.fromEnd {
		return e.day
	}
	out := make(chain, 0, len(e.day))
	for _, it := range e.day {
		start, stop := days+1-it.start, -1
		if it.stop > 0 {
			start, stop = days+1-it.stop, start
		}
		out = append(out, item{start, stop, it.repeat})
	}
	return out
}

// What find says: the value itself matches, a later one does, none does.
const (
	same = iota
	moved
	none
)

// find looks for the least value of the list that is at least v and at most limit.
func (c chain) find(v, limit int) (value, how int) {
	if c == nil {
		return v, same
	}
	best := -1
	for _, it := range c {
		k := it.start
		if k < v {
			if it.repeat == 0 {
				continue
			}
			k += (v - k + it.repeat - 1) / it.repeat * it.repeat
			if k > limit || it.stop >= 0 && k > it.stop {
				continue
			}
		}
		if best < 0 || k < best {
			best = k
		}
	}
	switch best {
	case -1:
		return v, none
	case v:
		return v, same
	}
	return best, moved
}
