package unit

import "math"

// resourceSetters are the directives of systemd.resource-control(5) that the model carries.
var resourceSetters = map[string]setter{
	"MemoryMin":     setMemory(func(r *ServiceResources) *Size { return &r.MemoryMin }, true),
	"MemoryLow":     setMemory(func(r *ServiceResources) *Size { return &r.MemoryLow }, true),
	"MemoryHigh":    setMemory(func(r *ServiceResources) *Size { return &r.MemoryHigh }, false),
	"MemoryMax":     setMemory(func(r *ServiceResources) *Size { return &r.MemoryMax }, false),
	"MemoryLimit":   setMemory(func(r *ServiceResources) *Size { return &r.MemoryLimit }, false),
	"MemorySwapMax": setMemory(func(r *ServiceResources) *Size { return &r.MemorySwapMax }, true),
	"TasksMax":      setTasksMax,
	"CPUQuota":      setCPUQuota,
	"CPUWeight":     setCPUWeight,
	"Slice":         setSlice,
	"Delegate":      setDelegate,
}

// setMemory takes an amount of memory; empty takes the limit away. Only some may be 0.
func setMemory(field func(r *ServiceResources) *Size, mayBeZero bool) setter {
	return func(l *loader, v string) bool {
		f := field(&l.u.Service.Resources)
		if v == "" {
			*f = Size{}
			return true
		}
		s, err := ParseSize(v)
		if err != nil {
			return l.ignore("%v", err)
		}
		if s.Value == 0 && s.Percent == 0 && !mayBeZero {
			return l.ignore("a limit of nothing")
		}
		*f = s
		return true
	}
}

func setTasksMax(l *loader, v string) bool {
	r := &l.u.Service.Resources
	switch v {
	case "":
		r.TasksMax = Size{}
		return true
	case "infinity":
		r.TasksMax = Size{Set: true, Value: Infinity}
		return true
	}
	if p, err := parsePermyriad(v); err == nil && p <= 10000 {
		r.TasksMax = Size{Set: true, Percent: p}
		return true
	}
	n, err := parseUint(v)
	if err != nil || n == 0 || n == math.MaxUint64 {
		return l.ignore("%s is not a number of tasks", short(v))
	}
	r.TasksMax = Size{Set: true, Value: int64(min(n, Infinity))}
	return true
}

func setCPUQuota(l *loader, v string) bool {
	r := &l.u.Service.Resources
	if v == "" {
		r.CPUQuota = 0
		return true
	}
	p, err := parsePermyriad(v)
	if err != nil || p == 0 {
		return l.ignore("%s is not a percentage of a core", short(v))
	}
	r.CPUQuota = p
	return true
}

func setCPUWeight(l *loader, v string) bool {
	r := &l.u.Service.Resources
	switch v {
	case "":
		r.CPUWeight, r.CPUIdle = 0, false
		return true
	case "idle":
		r.CPUWeight, r.CPUIdle = 1, true
		return true
	}
	n, err := parseUint(v)
	if err != nil || n < 1 || n > 10000 {
		return l.ignore("%s is not a weight from 1 to 10000", short(v))
	}
	r.CPUWeight, r.CPUIdle = int64(n), false
	return true
}

func setSlice(l *loader, v string) bool {
	s, err := l.expandName(v)
	if err != nil {
		return l.ignore("%v", err)
	}
	if n, err := ParseName(s); err != nil || n.Type() != "slice" {
		return l.ignore("%s is not the name of a slice", short(v))
	}
	l.u.Service.Resources.Slice = s
	return true
}

// setDelegate is a boolean or a list of controllers; empty means yes, as in systemd.
func setDelegate(l *loader, v string) bool {
	b, ok := parseBool(v)
	if _, err := words(v, whitespace, unquote); !ok && err != nil {
		return l.ignore("%v", err)
	}
	l.u.Service.Resources.Delegate = b || !ok
	return true
}
