package unit

import (
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of [X-Argosy].
const (
	maxPorts    = 64 // Ports of one unit.
	maxPriority = 1000
	maxRetries  = 1000
)

// Defaults of the health keys.
const (
	DefaultHealthInterval = 5 * time.Second
	DefaultHealthTimeout  = 2 * time.Second
	DefaultHealthRetries  = 3
)

// healthState gathers the health keys, whose order in the file does not count.
type healthState struct {
	check                          HealthCheck
	seen                           bool // HealthCheck= was given.
	companion                      string
	at                             *Option
	interval, timeout, startPeriod time.Duration
	retries                        int
}

// argosySetters are the keys of [X-Argosy]. Unlike systemd's, a bad value is an error: nothing here is ignored.
var argosySetters = map[string]setter{
	"MemoryRequest":     setRequest(func(a *Argosy) *Size { return &a.MemoryRequest }),
	"DiskRequest":       setRequest(func(a *Argosy) *Size { return &a.DiskRequest }),
	"CPURequest":        setCPURequest,
	"Port":              setPort,
	"HealthCheck":       setHealthCheck,
	"HealthInterval":    setHealthSpan(func(h *healthState) *time.Duration { return &h.interval }),
	"HealthTimeout":     setHealthSpan(func(h *healthState) *time.Duration { return &h.timeout }),
	"HealthStartPeriod": setHealthSpan(func(h *healthState) *time.Duration { return &h.startPeriod }),
	"HealthRetries":     setHealthRetries,
	"Monitor":           setMonitor,
	"Priority":          setPriority,
	"Spread":            setSpread,
	"Exclusive":         setExclusive,
	"Route":             setLater, "Replicas": setLater, "Update": setLater, "Config": setLater, "Secret": setLater,
	"OnUp": setLater, "OnDown": setLater, "Schedule": setLater,
}

// setLater is for keys of the design that this version does not act upon.
func setLater(l *loader, _ string) bool {
	l.warn("not honoured by this version")
	return true
}

func setRequest(field func(a *Argosy) *Size) setter {
	return func(l *loader, v string) bool {
		f := field(&l.u.Argosy)
		if v == "" {
			*f = Size{}
			return true
		}
		s, err := ParseSize(v)
		if err != nil {
			return l.fail("%v; write 512M or 2G", err)
		}
		if s.Percent != 0 || s.Value == Infinity {
			return l.fail("%s: a request is an amount, such as 512M", short(v))
		}
		*f = s
		return true
	}
}

// setCPURequest reads cores: 0.5, 500m or 50%.
func setCPURequest(l *loader, v string) bool {
	if v == "" {
		l.u.Argosy.CPURequest = 0
		return true
	}
	milli, err := parseCPU(v)
	if err != nil {
		return l.fail("%v", err)
	}
	l.u.Argosy.CPURequest = int(milli)
	return true
}

// maxMilli bounds a request of CPU: a million cores.
const maxMilli = 1_000_000_000

// parseCPU reads thousandths of a core.
func parseCPU(s string) (int64, error) {
	bad := fmt.Errorf("%s is not an amount of CPU; write 0.5, 500m or 50%%", short(s))
	number, scale := s, 1000.0
	if n, ok := strings.CutSuffix(s, "m"); ok {
		number, scale = n, 1
	} else if n, ok := strings.CutSuffix(s, "%"); ok {
		number, scale = n, 10
	}
	if strings.Trim(number, "0123456789.") != "" {
		return 0, bad
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || f*scale > maxMilli {
		return 0, bad
	}
	milli := int64(f*scale + 0.5)
	if milli < 1 {
		return 0, bad
	}
	return milli, nil
}

// setPort reads ports, several in one line: 3300, 53/udp, 127.0.0.1:80, [::1]:80/tcp. Empty takes all away.
func setPort(l *loader, v string) bool {
	if v == "" {
		l.u.Argosy.Ports = nil
		return true
	}
	for w := range strings.FieldsSeq(v) {
		p, err := parsePort(l.fleetExpand(w))
		if err != nil {
			return l.fail("%v", err)
		}
		if l.u.Argosy.Ports = addPort(l.u.Argosy.Ports, p); len(l.u.Argosy.Ports) > maxPorts {
			return l.fail("more than %d ports", maxPorts)
		}
	}
	return true
}

func addPort(list []Port, p Port) []Port {
	if slices.Contains(list, p) {
		return list
	}
	return append(list, p)
}

func parsePort(s string) (Port, error) {
	rest, proto, has := strings.Cut(s, "/")
	if !has {
		proto = "tcp"
	}
	address := ""
	if i := strings.LastIndexByte(rest, ':'); i >= 0 {
		address, rest = strings.Trim(rest[:i], "[]"), rest[i+1:]
		a, err := netip.ParseAddr(address)
		if err != nil && address != "" {
			return Port{}, fmt.Errorf("%s: %s is not an IP address", short(s), short(address))
		}
		if address != "" && a.IsUnspecified() {
			address = ""
		} else if address != "" {
			address = a.String()
		}
	}
	n, err := strconv.ParseUint(rest, 10, 16)
	if err != nil || n == 0 || proto != "tcp" && proto != "udp" {
		return Port{}, fmt.Errorf("%s is not a port; write 3300, 53/udp or 127.0.0.1:80", short(s))
	}
	return Port{Number: uint16(n), Proto: proto, Address: address}, nil
}

// setHealthCheck reads http://HOST:PORT/PATH, https://…, tcp://HOST:PORT or exec:COMMAND; an empty host is the machine
// itself.
func setHealthCheck(l *loader, v string) bool {
	h := &l.health
	h.at = l.opt
	h.check, h.seen = HealthCheck{}, false
	if v == "" {
		return true
	}
	v, err := l.expand(v, maxExpanded)
	if err != nil {
		return l.fail("%v", err)
	}
	check, err := parseHealthCheck(v)
	if err != nil {
		return l.fail("%v", err)
	}
	h.check, h.seen = check, true
	return true
}

func parseHealthCheck(v string) (HealthCheck, error) {
	if command, ok := strings.CutPrefix(v, "exec:"); ok {
		argv, err := words(strings.Trim(command, whitespace), whitespace, unquote|cUnescape)
		if err != nil || len(argv) == 0 || argv[0] == "" {
			return HealthCheck{}, fmt.Errorf("%s is not a command", short(command))
		}
		return HealthCheck{Kind: "exec", Command: argv}, nil
	}
	u, err := url.Parse(v)
	if err != nil || u.User != nil || u.Opaque != "" {
		return HealthCheck{}, fmt.Errorf("%s is not a health check; write http://:3300/path, tcp://:6379 or exec:COMMAND", short(v))
	}
	host := u.Hostname()
	if host == "" {
		host = "127.0.0.1"
	}
	port := u.Port()
	if port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return HealthCheck{}, fmt.Errorf("%s is not a port", short(port))
		}
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	switch u.Scheme {
	case "tcp":
		if port == "" || u.Path != "" && u.Path != "/" {
			return HealthCheck{}, fmt.Errorf("%s needs a port and nothing behind it: tcp://:6379", short(v))
		}
		return HealthCheck{Kind: "tcp", Target: host + ":" + port}, nil
	case "http", "https":
		u.Host = host
		if port != "" {
			u.Host += ":" + port
		}
		if u.Path == "" {
			u.Path = "/"
		}
		u.Fragment = ""
		return HealthCheck{Kind: u.Scheme, Target: u.String()}, nil
	}
	return HealthCheck{}, fmt.Errorf("%s is not a health check; write http://:3300/path, tcp://:6379 or exec:COMMAND", short(v))
}

func setHealthSpan(field func(h *healthState) *time.Duration) setter {
	return func(l *loader, v string) bool {
		d, err := ParseSpan(v)
		if err != nil {
			return l.fail("%v", err)
		}
		if d == Infinity || d <= 0 && l.opt.Key != "HealthStartPeriod" {
			return l.fail("%s: it has to be longer than nothing and shorter than for ever", short(v))
		}
		*field(&l.health) = d
		l.health.companion = l.opt.Key
		return true
	}
}

func setHealthRetries(l *loader, v string) bool {
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > maxRetries {
		return l.fail("%s is not a number from 1 to %d", short(v), maxRetries)
	}
	l.health.retries = n
	l.health.companion = l.opt.Key
	return true
}

// finishHealth puts the health keys together.
func (l *loader) finishHealth() {
	h := &l.health
	if !h.seen {
		if h.companion != "" {
			l.at(sectionArgosy, h.companion)
			l.warn("there is no HealthCheck= that it could belong to")
		}
		return
	}
	c := h.check
	c.Interval, c.Timeout, c.Retries, c.StartPeriod = DefaultHealthInterval, DefaultHealthTimeout, DefaultHealthRetries, h.startPeriod
	if h.interval > 0 {
		c.Interval = h.interval
	}
	if h.timeout > 0 {
		c.Timeout = h.timeout
	}
	if h.retries > 0 {
		c.Retries = h.retries
	}
	l.u.Argosy.HealthCheck = &c
}

func setMonitor(l *loader, v string) bool {
	d, err := ParseSpan(v)
	if err != nil || d == Infinity {
		return l.fail("%s is not a time span", short(v))
	}
	l.u.Argosy.Monitor = d
	return true
}

func setPriority(l *loader, v string) bool {
	n, err := strconv.Atoi(v)
	if err != nil || n < -maxPriority || n > maxPriority {
		return l.fail("%s is not a number from %d to %d", short(v), -maxPriority, maxPriority)
	}
	l.u.Argosy.Priority = n
	return true
}

// setSpread takes metadata keys, most important first.
func setSpread(l *loader, v string) bool {
	if v == "" {
		l.u.Argosy.Spread = nil
		return true
	}
	for k := range strings.FieldsSeq(v) {
		if !plainKey(k) {
			return l.fail("%s is not a metadata key", short(k))
		}
		l.addOnce(&l.u.Argosy.Spread, k)
	}
	return true
}

func setExclusive(l *loader, v string) bool {
	b, ok := parseBool(v)
	if !ok {
		return l.fail("%s is not a boolean", short(v))
	}
	l.u.Argosy.Exclusive = b
	return true
}

// programName is the last part of a path; of a bare name, the name.
func programName(p string) string { return path.Base(p) }
