package unit

import (
	"time"

	"argosy.dev/argosy/calendar"
)

// timerSetters are the directives of [Timer] that the model carries.
var timerSetters = map[string]setter{
	"OnCalendar":         setCalendar,
	"OnActiveSec":        setTimerSpan(func(t *Timer) *[]time.Duration { return &t.OnActive }),
	"OnBootSec":          setTimerSpan(func(t *Timer) *[]time.Duration { return &t.OnBoot }),
	"OnStartupSec":       setTimerSpan(func(t *Timer) *[]time.Duration { return &t.OnStartup }),
	"OnUnitActiveSec":    setTimerSpan(func(t *Timer) *[]time.Duration { return &t.OnUnitActive }),
	"OnUnitInactiveSec":  setTimerSpan(func(t *Timer) *[]time.Duration { return &t.OnUnitInactive }),
	"OnClockChange":      setBool(func(u *Unit) *bool { return &u.Timer.OnClockChange }),
	"OnTimezoneChange":   setBool(func(u *Unit) *bool { return &u.Timer.OnTimezoneChange }),
	"Persistent":         setBool(func(u *Unit) *bool { return &u.Timer.Persistent }),
	"WakeSystem":         setBool(func(u *Unit) *bool { return &u.Timer.WakeSystem }),
	"RemainAfterElapse":  setBool(func(u *Unit) *bool { return &u.Timer.RemainAfterElapse }),
	"FixedRandomDelay":   setBool(func(u *Unit) *bool { return &u.Timer.FixedRandomDelay }),
	"AccuracySec":        setSpan(func(u *Unit) *time.Duration { return &u.Timer.AccuracySec }),
	"RandomizedDelaySec": setSpan(func(u *Unit) *time.Duration { return &u.Timer.RandomizedDelay }),
	"Unit":               setTimerUnit,
}

// resetTimer is what an empty value of any On…= does: all of them are forgotten.
func resetTimer(t *Timer) {
	t.OnActive, t.OnBoot, t.OnStartup, t.OnUnitActive, t.OnUnitInactive, t.OnCalendar = nil, nil, nil, nil, nil, nil
}

func setCalendar(l *loader, v string) bool {
	t := l.u.Timer
	if v == "" {
		resetTimer(t)
		return true
	}
	s, err := l.expand(v, maxExpanded)
	if err != nil {
		return l.ignore("%v", err)
	}
	if _, err := calendar.Parse(s); err != nil {
		return l.ignore("%s is not a calendar time: %v", short(s), err)
	}
	t.OnCalendar = append(t.OnCalendar, s)
	return true
}

func setTimerSpan(field func(t *Timer) *[]time.Duration) setter {
	return func(l *loader, v string) bool {
		if v == "" {
			resetTimer(l.u.Timer)
			return true
		}
		s, err := l.expand(v, maxExpanded)
		if err != nil {
			return l.ignore("%v", err)
		}
		d, err := ParseSpan(s)
		if err != nil {
			return l.ignore("%v", err)
		}
		list := field(l.u.Timer)
		*list = append(*list, d)
		return true
	}
}

// setTimerUnit takes the first Unit= only, as systemd does.
func setTimerUnit(l *loader, v string) bool {
	if l.u.Timer.Unit != "" {
		return l.ignore("a second Unit=; %s counts", l.u.Timer.Unit)
	}
	s, err := l.expandName(v)
	if err != nil {
		return l.ignore("%v", err)
	}
	n, err := ParseName(s)
	if err != nil {
		return l.ignore("%v", err)
	}
	if n == l.u.Name {
		return l.ignore("a timer cannot start itself")
	}
	name, ok := l.dependency(s)
	l.u.Timer.Unit = name
	return ok
}

func (l *loader) finishTimer() {
	t := l.u.Timer
	n := len(t.OnActive) + len(t.OnBoot) + len(t.OnStartup) + len(t.OnUnitActive) + len(t.OnUnitInactive) + len(t.OnCalendar)
	if n == 0 && !t.OnClockChange && !t.OnTimezoneChange {
		l.at("Timer", "")
		l.fail("the timer has no OnCalendar=, OnBootSec= or other time: systemd refuses it")
	}
	if t.Unit == "" {
		t.Unit = l.u.Name.Base() + DefaultSuffix
	}
}
