package unit

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

var errRange = errors.New("out of range")

// parseBool reads systemd's booleans; case does not count.
func parseBool(s string) (value, ok bool) {
	switch strings.ToLower(s) {
	case "1", "yes", "y", "true", "t", "on":
		return true, true
	case "0", "no", "n", "false", "f", "off":
		return false, true
	}
	return false, false
}

// timeUnits in the order in which systemd tries them: longer names before their beginnings.
var timeUnits = [...]struct {
	name string
	usec uint64
}{
	{"seconds", 1e6},
	{"second", 1e6},
	{"sec", 1e6},
	{"s", 1e6},
	{"minutes", 60e6},
	{"minute", 60e6},
	{"min", 60e6},
	{"months", usecMonth},
	{"month", usecMonth},
	{"M", usecMonth},
	{"msec", 1e3},
	{"ms", 1e3},
	{"m", 60e6},
	{"hours", 3600e6},
	{"hour", 3600e6},
	{"hr", 3600e6},
	{"h", 3600e6},
	{"days", usecDay},
	{"day", usecDay},
	{"d", usecDay},
	{"weeks", 7 * usecDay},
	{"week", 7 * usecDay},
	{"w", 7 * usecDay},
	{"years", usecYear},
	{"year", usecYear},
	{"y", usecYear},
	{"usec", 1},
	{"us", 1},
	{"μs", 1},
	{"µs", 1},
}

const (
	usecDay   = 24 * 3600 * 1000000
	usecMonth = 2629800 * 1000000
	usecYear  = 31557600 * 1000000
)

// ParseSpan reads a time span as systemd.time(7) describes it: "5min 20s", "1.5h", a bare number is seconds.
// Infinity is what "infinity" gives, and any span longer than a time.Duration can hold.
func ParseSpan(s string) (time.Duration, error) {
	usec, err := parseUsec(s, 1e6)
	if err != nil {
		return 0, err
	}
	if usec > math.MaxInt64/1000 {
		return Infinity, nil
	}
	return time.Duration(usec) * time.Microsecond, nil
}

// parseUsec gives microseconds; math.MaxUint64 is infinity. A number without a unit counts in unit.
func parseUsec(s string, unit uint64) (uint64, error) {
	s = strings.TrimLeft(s, whitespace)
	if rest, ok := strings.CutPrefix(s, "infinity"); ok {
		if strings.Trim(rest, whitespace) != "" {
			return 0, fmt.Errorf("%s is not a time span", short(s))
		}
		return math.MaxUint64, nil
	}
	var total uint64
	for something := false; ; something = true {
		s = strings.TrimLeft(s, whitespace)
		if s == "" {
			if !something {
				return 0, errors.New("a time span is empty")
			}
			return total, nil
		}
		part, rest, err := oneSpan(s, unit)
		if err != nil {
			return 0, err
		}
		if part >= math.MaxUint64-total {
			return 0, errRange
		}
		total += part
		s = rest
	}
}

// oneSpan reads one number with its unit.
func oneSpan(s string, unit uint64) (usec uint64, rest string, err error) {
	whole, fraction, rest, err := numberParts(s)
	if err != nil {
		return 0, "", err
	}
	if fraction == "." {
		return 0, "", fmt.Errorf("%s has no digits behind its point", short(s))
	}
	fraction = strings.TrimPrefix(fraction, ".")
	trimmed := strings.TrimLeft(rest, whitespace)
	found := false
	for _, u := range timeUnits {
		if after, ok := strings.CutPrefix(trimmed, u.name); ok {
			unit, trimmed, found = u.usec, after, true
			break
		}
	}
	if !found && trimmed == rest && rest != "" {
		return 0, "", fmt.Errorf("%s is not a time unit", short(rest))
	}
	if whole >= math.MaxUint64/unit {
		return 0, "", errRange
	}
	usec = whole * unit
	step := unit / 10
	for _, d := range fraction {
		usec += uint64(d-'0') * step
		step /= 10
	}
	return usec, trimmed, nil
}

// numberParts reads digits, and a point with what digits follow it (the point is part of fraction); a minus is refused.
func numberParts(s string) (whole uint64, fraction, rest string, err error) {
	if strings.HasPrefix(s, "-") {
		return 0, "", "", errRange
	}
	n := strings.TrimPrefix(s, "+")
	i := digitsEnd(n)
	if i == 0 && !strings.HasPrefix(s, ".") {
		return 0, "", "", fmt.Errorf("%s does not begin with a number", short(s))
	}
	if i > 0 {
		v, perr := strconv.ParseInt(n[:i], 10, 64)
		if perr != nil {
			return 0, "", "", errRange
		}
		whole = uint64(v)
	}
	rest = n[i:]
	if after, ok := strings.CutPrefix(rest, "."); ok {
		j := digitsEnd(after)
		fraction, rest = rest[:j+1], after[j:]
	}
	return whole, fraction, rest, nil
}

func digitsEnd(s string) int {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return i
}

// sizeUnits in the order in which systemd allows them to follow each other: "1G 500M".
var sizeUnits = [...]struct {
	name   string
	factor uint64
}{{"E", 1 << 60}, {"P", 1 << 50}, {"T", 1 << 40}, {"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10}, {"B", 1}, {"", 1}}

// ParseSize reads an amount of memory: bytes with K, M, G, T to the base of 1024, a percentage of what the machine has,
// or "infinity", as systemd.resource-control(5) has it.
func ParseSize(s string) (Size, error) {
	if s == "infinity" {
		return Size{Set: true, Value: Infinity}, nil
	}
	if p, err := parsePermyriad(s); err == nil {
		if p > 10000 {
			return Size{}, errRange
		}
		return Size{Set: true, Percent: p}, nil
	}
	n, err := parseBytes(s)
	if err != nil {
		return Size{}, err
	}
	if n > math.MaxInt64 {
		n = Infinity
	}
	return Size{Set: true, Value: int64(n)}, nil
}

// parseBytes is systemd's parse_size to the base of 1024.
func parseBytes(s string) (uint64, error) {
	var total uint64
	start := 0
	for {
		s = strings.TrimLeft(s, whitespace)
		whole, fraction, rest, err := numberParts(s)
		if err != nil || strings.HasPrefix(s, ".") {
			return 0, fmt.Errorf("%s is not a size", short(s))
		}
		rest = strings.TrimLeft(rest, whitespace)
		i := start
		for i < len(sizeUnits) && !strings.HasPrefix(rest, sizeUnits[i].name) {
			i++
		}
		if i == len(sizeUnits) {
			return 0, fmt.Errorf("%s is not a size", short(s))
		}
		var f float64
		if len(fraction) > 1 {
			f, _ = strconv.ParseFloat("0"+fraction, 64) // Only digits: it cannot fail.
		}
		factor := sizeUnits[i].factor
		if whole >= math.MaxUint64/factor {
			return 0, errRange
		}
		part := whole*factor + uint64(f*float64(factor))
		if part > math.MaxUint64-total {
			return 0, errRange
		}
		total += part
		s = rest[len(sizeUnits[i].name):]
		start = i + 1
		if s == "" {
			return total, nil
		}
	}
}

// parsePermyriad reads 12%, 12.5%, 12.25%, 125‰ or 1250‱ into hundredths of a percent, without an upper bound.
func parsePermyriad(s string) (int, error) {
	places := 2
	n, ok := strings.CutSuffix(s, "%")
	if !ok {
		places = 1
		if n, ok = strings.CutSuffix(s, "‰"); !ok {
			places = 0
			if n, ok = strings.CutSuffix(s, "‱"); !ok {
				return 0, fmt.Errorf("%s is not a percentage", short(s))
			}
		}
	}
	whole, fraction, point := strings.Cut(n, ".")
	if point && (fraction == "" || len(fraction) > places || digitsEnd(fraction) != len(fraction)) {
		return 0, fmt.Errorf("%s is not a percentage", short(s))
	}
	v, err := parseInt(whole)
	if err != nil || v < 0 || v > math.MaxInt32/100-1 {
		return 0, fmt.Errorf("%s is not a percentage", short(s))
	}
	out := int(v)
	for i := 0; i < places; i++ {
		out *= 10
		if i < len(fraction) {
			out += int(fraction[i] - '0')
		}
	}
	return out, nil
}

// parseInt reads a number as C's strtol with base 0 does: 12, 0x0c, 014, 0b1100, with a sign.
func parseInt(s string) (int64, error) {
	s = strings.TrimLeft(s, whitespace)
	if strings.ContainsRune(s, '_') { // Go's own digit separator.
		return 0, fmt.Errorf("%s is not a number", short(s))
	}
	v, err := strconv.ParseInt(s, 0, 64)
	if err != nil {
		if errors.Is(err, strconv.ErrRange) {
			return 0, errRange
		}
		return 0, fmt.Errorf("%s is not a number", short(s))
	}
	return v, nil
}

// parseUint is parseInt for 64 bits without a sign.
func parseUint(s string) (uint64, error) {
	s = strings.TrimPrefix(strings.TrimLeft(s, whitespace), "+")
	if strings.ContainsRune(s, '_') {
		return 0, fmt.Errorf("%s is not a number", short(s))
	}
	if strings.HasPrefix(s, "-") {
		return 0, errRange
	}
	v, err := strconv.ParseUint(s, 0, 64)
	if err != nil {
		if errors.Is(err, strconv.ErrRange) {
			return 0, errRange
		}
		return 0, fmt.Errorf("%s is not a number", short(s))
	}
	return v, nil
}

// parseMode reads an octal access mode.
func parseMode(s string) (uint32, error) {
	s = strings.TrimLeft(s, whitespace)
	v, err := strconv.ParseUint(s, 8, 32)
	if err != nil || strings.HasPrefix(s, "+") {
		return 0, fmt.Errorf("%s is not an octal mode", short(s))
	}
	if v > 0o7777 {
		return 0, errRange
	}
	return uint32(v), nil
}

// parseLimit reads Limit…=, one value or SOFT:HARD (systemd.exec(5)).
func parseLimit(kind, s string) (Limit, error) {
	softText, hardText, both := strings.Cut(s, ":")
	soft, err := limitValue(kind, softText)
	if err != nil {
		return Limit{}, err
	}
	if !both {
		return Limit{soft, soft}, nil
	}
	hard, err := limitValue(kind, hardText)
	if err != nil {
		return Limit{}, err
	}
	if soft > hard {
		return Limit{}, errors.New("the soft limit is higher than the hard one")
	}
	return Limit{soft, hard}, nil
}

func limitValue(kind, s string) (int64, error) {
	if s == "infinity" {
		return Infinity, nil
	}
	var v uint64
	var err error
	switch kind {
	case "CPU":
		if v, err = parseUsec(s, 1e6); err == nil && v != math.MaxUint64 {
			v = (v + 999999) / 1000000
		}
	case "RTTIME":
		v, err = parseUsec(s, 1)
	case "NICE":
		return niceLimit(s)
	case "NOFILE", "NPROC", "LOCKS", "SIGPENDING", "RTPRIO":
		v, err = parseUint(s)
	default:
		v, err = parseBytes(s)
	}
	if err != nil {
		return 0, err
	}
	return int64(min(v, Infinity)), nil
}

// niceLimit reads LimitNICE=: with a sign a nice level, without one the raw value.
func niceLimit(s string) (int64, error) {
	sign := byte(0)
	if s != "" && (s[0] == '+' || s[0] == '-') {
		sign, s = s[0], s[1:]
	}
	v, err := parseUint(s)
	if err != nil {
		return 0, err
	}
	switch {
	case sign == '+' && v < 20:
		return 20 - int64(v), nil
	case sign == '-' && v <= 20:
		return 20 + int64(v), nil
	case sign == 0 && v <= 40:
		return int64(v), nil
	}
	return 0, errRange
}
