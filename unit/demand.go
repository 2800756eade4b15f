package unit

import "strings"

// What a unit is counted with when nothing says what it needs: little, but not nothing.
const (
	DefaultMemory = 16 << 20 // Bytes.
	DefaultCPU    = 10       // Thousandths of a core.
)

// fromDefault is the source of a number that nobody wrote.
const fromDefault = "Argosy's default"

// Demand derives what placement counts. Each number comes from the first source that has one:
//
//	memory: MemoryRequest= of [X-Argosy]; MemoryMin=, MemoryLow= (what systemd guarantees, the larger), MemoryHigh=,
//	        MemoryMax=, MemoryLimit= of [Service]; --memory-reservation, --memory of docker or podman run in ExecStart=;
//	        16M
//	cpu:    CPURequest=; CPUQuota=; --cpus; 0.01 core
//	disk:   DiskRequest=; nothing
//	ports:  Port= and the published ports of docker or podman run, together
//
// Shares of what a machine has (MemoryMax=20%) and infinity say nothing about the amount and are passed over. A timer or a
// target runs nothing and asks for nothing.
func (u *Unit) Demand() Demand {
	d := Demand{
		Service:   u.serviceName(),
		From:      map[string]string{},
		MachineID: u.Fleet.MachineID,
		MachineOf: u.Fleet.MachineOf,
		Metadata:  u.Fleet.Metadata,
		Conflicts: u.Fleet.Conflicts,
		Replaces:  u.Fleet.Replaces,
		Global:    u.Fleet.Global,
		Spread:    u.Argosy.Spread,
		Priority:  u.Argosy.Priority,
		Exclusive: u.Argosy.Exclusive,
		Ports:     u.Argosy.Ports,
	}
	var engine engineRun
	if u.Service != nil {
		engine = findEngineRun(u.Service)
	}
	d.Request.Memory, d.From["memory"] = u.memory(engine)
	d.Request.CPU, d.From["cpu"] = u.cpu(engine)
	if s := u.Argosy.DiskRequest; s.Set {
		d.Request.Disk, d.From["disk"] = s.Value, "DiskRequest= of [X-Argosy]"
	}
	if len(d.Ports) > 0 {
		d.From["ports"] = "Port= of [X-Argosy]"
	}
	if len(engine.ports) > 0 {
		d.Ports = append([]Port(nil), d.Ports...)
		for _, p := range engine.ports {
			d.Ports = addPort(d.Ports, p)
		}
		from := "-p of " + engine.name + " in ExecStart="
		if have := d.From["ports"]; have != "" {
			from = have + ", " + from
		}
		d.From["ports"] = from
	}
	return d
}

// serviceName is the template's name for an instance, else the unit's own.
func (u *Unit) serviceName() string {
	if strings.Contains(u.Name.Base(), "@") {
		return string(u.Name.Template())
	}
	return string(u.Name)
}

func (u *Unit) memory(engine engineRun) (bytes int64, from string) {
	if s := u.Argosy.MemoryRequest; s.Set {
		return s.Value, "MemoryRequest= of [X-Argosy]"
	}
	if u.Service == nil {
		return 0, "a ." + u.Name.Type() + " runs nothing"
	}
	r := &u.Service.Resources
	low := "MemoryMin"
	guaranteed := r.MemoryMin
	if amount(r.MemoryLow) > amount(r.MemoryMin) {
		low, guaranteed = "MemoryLow", r.MemoryLow
	}
	for _, s := range []struct {
		key  string
		size Size
	}{{low, guaranteed}, {"MemoryHigh", r.MemoryHigh}, {"MemoryMax", r.MemoryMax}, {"MemoryLimit", r.MemoryLimit}} {
		if n := amount(s.size); n > 0 {
			return n, s.key + "= of [Service]"
		}
	}
	if engine.memory > 0 {
		return engine.memory, engine.memoryFlag + " of " + engine.name + " in ExecStart="
	}
	return DefaultMemory, fromDefault
}

// amount is a size in bytes; 0 for unset, for shares and for infinity.
func amount(s Size) int64 {
	if !s.Set || s.Percent != 0 || s.Value == Infinity {
		return 0
	}
	return s.Value
}

func (u *Unit) cpu(engine engineRun) (milli int64, from string) {
	if n := u.Argosy.CPURequest; n > 0 {
		return int64(n), "CPURequest= of [X-Argosy]"
	}
	if u.Service == nil {
		return 0, "a ." + u.Name.Type() + " runs nothing"
	}
	if q := u.Service.Resources.CPUQuota; q > 0 {
		return max(int64(q)/10, 1), "CPUQuota= of [Service]"
	}
	if engine.cpu > 0 {
		return engine.cpu, "--cpus of " + engine.name + " in ExecStart="
	}
	return DefaultCPU, fromDefault
}
