package systemd

import (
	"encoding/hex"
	"math"
	"time"

	"github.com/godbus/dbus/v5"
)

// props are the properties of one D-Bus interface of a unit. What is missing, or of another type than expected,
// reads as empty: properties come and go with systemd's versions.
type props map[string]dbus.Variant

func (p props) value(key string) any { return p[key].Value() }

func text(v any) string {
	s, _ := v.(string)
	return s
}

func (p props) text(key string) string { return text(p.value(key)) }

func (p props) texts(key string) []string {
	l, _ := p.value(key).([]string)
	return l
}

func (p props) flag(key string) bool {
	b, _ := p.value(key).(bool)
	return b
}

// number reads any integer; 0 when it is unknown. systemd says the largest unsigned number for "not set",
// which must never be taken for an amount.
func (p props) number(key string) int64 {
	switch n := p.value(key).(type) {
	case uint64:
		if n > math.MaxInt64 {
			return 0
		}
		return int64(n)
	case int64:
		return n
	case uint32:
		if n == math.MaxUint32 {
			return 0
		}
		return int64(n)
	case int32:
		return int64(n)
	}
	return 0
}

// time reads a wall-clock timestamp in microseconds; 0 and "not set" are the zero time.
func (p props) time(key string) time.Time { return wallTime(p.number(key)) }

func wallTime(usec int64) time.Time {
	if usec <= 0 {
		return time.Time{}
	}
	return time.UnixMicro(usec)
}

// span reads a duration in microseconds; 0 and "not set" are 0.
func (p props) span(key string) time.Duration {
	return time.Duration(p.number(key)) * time.Microsecond
}

// hex reads an array of bytes as hex digits, as systemd writes ids.
func (p props) hex(key string) string {
	b, _ := p.value(key).([]byte)
	return hex.EncodeToString(b)
}
