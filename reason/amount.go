package reason

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Bytes writes a size as people do: 512M, 1.5G, 100K; powers of 1024 as in systemd. It is never more than what it says:
// the digit behind the point is cut, so that a size that is told to fit does fit.
func Bytes(n int64) string {
	if n < 0 {
		return "-" + Bytes(-n)
	}
	units := []struct {
		size int64
		name string
	}{{1 << 40, "T"}, {1 << 30, "G"}, {1 << 20, "M"}, {1 << 10, "K"}}
	for _, u := range units {
		if n >= u.size {
			whole, tenths := n/u.size, n%u.size*10/u.size
			if tenths == 0 {
				return strconv.FormatInt(whole, 10) + u.name
			}
			return fmt.Sprintf("%d.%d%s", whole, tenths, u.name)
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}

// CPU writes thousandths of a core as cores: 1500 is "1.5".
func CPU(milli int64) string {
	s := strconv.FormatFloat(float64(milli)/1000, 'f', 3, 64)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// Span writes milliseconds as people do: 800ms, 2.5s, 4min, 3h.
func Span(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	switch {
	case d < time.Second:
		return fmt.Sprintf("%dms", ms)
	case d < time.Minute:
		return trim(d.Seconds()) + "s"
	case d < time.Hour:
		return trim(d.Minutes()) + "min"
	case d < 48*time.Hour:
		return trim(d.Hours()) + "h"
	default:
		return trim(d.Hours()/24) + " days"
	}
}

// trim writes one digit behind the point, or none when it is zero.
func trim(f float64) string {
	return strings.TrimSuffix(strconv.FormatFloat(f, 'f', 1, 64), ".0")
}

// Times writes a count as people say it: once, twice, 5 times.
func Times(n int64) string {
	switch n {
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return fmt.Sprintf("%d times", n)
}
