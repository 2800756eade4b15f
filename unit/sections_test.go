package unit

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

const simple = "[Service]\nExecStart=/bin/true\n"

func TestFleet(t *testing.T) {
	u := load(t, "web@1.service", simple+`[X-Fleet]
MachineMetadata="disk=ssd" "zone=b"
MachineMetadata=zone=a
X-ConditionMachineMetadata=disk=ssd
Conflicts=web@*.service other.service
X-Conflicts=%p@2.service
MachineOf=db@%i.service
X-ConditionMachineOf=%n.x
Global=yes
Global=off
`)
	want := Fleet{
		MachineOf: []string{"web@1.service.x", "db@1.service"},
		Metadata:  []MetadataTerm{{"disk", []string{"ssd"}}, {"zone", []string{"a", "b"}}},
		Conflicts: []string{"web@2.service", "web@*.service", "other.service"},
	}
	if !reflect.DeepEqual(u.Fleet, want) {
		t.Errorf("%+v", u.Fleet)
	}
	if len(u.Warnings) != 3 || u.Warnings[0].Message != "deprecated form of MachineMetadata=" {
		t.Errorf("%v", u.Warnings)
	}
	for text, id := range map[string]string{
		"X-ConditionMachineBootID=c\nX-ConditionMachineID=b\nMachineID=a\nMachineID=z\n": "a",
		"X-ConditionMachineBootID=c\nX-ConditionMachineID=b\n":                           "b",
		"X-ConditionMachineBootID=c\n":                                                   "c",
	} {
		if u := load(t, "a.service", simple+"[X-Fleet]\n"+text); u.Fleet.MachineID != id {
			t.Errorf("%q: %q", text, u.Fleet.MachineID)
		}
	}
	for v, want := range map[string]bool{"true": true, "YES": true, "1": true, "On": true, "t": true, "y": false, "false": false, "": false} {
		if u := load(t, "a.service", simple+"[X-Fleet]\nGlobal="+v+"\n"); u.Fleet.Global != want {
			t.Errorf("Global=%s: %v", v, u.Fleet.Global)
		}
	}
}

func TestFleetRefusals(t *testing.T) {
	for text, want := range map[string]string{
		"MachineID=a\nMachineOf=b.service\n":        "MachineID cannot be used with Peers",
		"MachineID=a\nConflicts=b\n":                "MachineID cannot be used with Conflicts",
		"MachineID=a\nGlobal=true\n":                "MachineID cannot be used with Global",
		"MachineID=a\nReplaces=b\n":                 "MachineID cannot be used with Replaces",
		"Global=true\nMachineOf=b.service\n":        "Global cannot be used with Peers",
		"Global=true\nReplaces=b\n":                 "Global cannot be used with Replaces",
		"Conflicts=a\nReplaces=b\n":                 "Conflicts cannot be used with Replaces",
		"MachineOf=b.service\nConflicts=b*\n":       `unresolvable requirements: peer "b.service" matches conflict "b*"`,
		"MachineOf=b.service\nReplaces=b.service\n": `unresolvable requirements: peer "b.service" matches replace "b.service"`,
		"Conflict=a\n":                              `unknown key "Conflict" in section [X-Fleet]; did you mean Conflicts=?`,
		"MachineMetaData=a=b\n":                     "did you mean MachineMetadata=?",
		"MachineMetadata=disk\n":                    `"disk" is not KEY=VALUE`,
		"MachineMetadata=a=b=c\n":                   `"a=b=c" is not KEY=VALUE`,
		"MachineMetadata=\"a=b\" \"=c\"\n":          `"=c" is not KEY=VALUE`,
		"Conflicts=[\n":                             "is not a pattern",
	} {
		_, err := Load("a.service", []byte(simple+"[X-Fleet]\n"+text), nil, Host{})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "a.service: ") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

const fleetHashOfTest = "9c502cb419b1e2eb3af40d3877073bcae67e8874"

// TestFleetHash is the SHA-1 over fleet's own serialization, by sha1sum.
func TestFleetHash(t *testing.T) {
	f, _, err := ParseFile("a.service", []byte("[Unit]\nDescription=x\n# c\n[Service]\nExecStart=/bin/sleep 1\n[Unit]\nAfter=y.service\n"))
	if err != nil {
		t.Fatal(err)
	}
	// printf '[Unit]\nDescription=x\nAfter=y.service\n\n[Service]\nExecStart=/bin/sleep 1\n' | sha1sum
	if got := FleetHash(f); got != fleetHashOfTest {
		t.Error(got)
	}
	back, err := FileFromOptions("a.service", f.Options())
	if err != nil || FleetHash(back) != fleetHashOfTest {
		t.Errorf("%v %s", err, FleetHash(back))
	}
}

func TestArgosy(t *testing.T) {
	u := load(t, "web@2.service", simple+`[Argosy]
MemoryRequest=512M
CPURequest=500m
DiskRequest=2G
Port=3300 53/udp
Port=127.0.0.1:80 [::1]:443/tcp 0.0.0.0:9 80%i
HealthRetries=5
HealthCheck=http://:3300/healthz
HealthInterval=10
HealthStartPeriod=1min
Monitor=20s
Priority=-5
Spread=zone rack
Spread=machine
Exclusive=yes
Route=x
`)
	want := Argosy{
		MemoryRequest: Size{Set: true, Value: 512 << 20}, DiskRequest: Size{Set: true, Value: 2 << 30}, CPURequest: 500,
		Ports:       []Port{{3300, "tcp", ""}, {53, "udp", ""}, {80, "tcp", "127.0.0.1"}, {443, "tcp", "::1"}, {9, "tcp", ""}, {802, "tcp", ""}},
		HealthCheck: &HealthCheck{Kind: "http", Target: "http://127.0.0.1:3300/healthz", Interval: 10 * time.Second, Timeout: 2 * time.Second, Retries: 5, StartPeriod: time.Minute},
		Monitor:     20 * time.Second, Priority: -5, Spread: []string{"zone", "rack", "machine"}, Exclusive: true,
	}
	if !reflect.DeepEqual(u.Argosy, want) {
		t.Errorf("%+v\n%+v", u.Argosy, u.Argosy.HealthCheck)
	}
	if len(u.Warnings) != 1 || u.Warnings[0].Message != "not honoured by this version" || u.Warnings[0].Directive != "Route" {
		t.Errorf("%v", u.Warnings)
	}
	if !strings.Contains(string(u.Render()), "[X-Argosy]\nMemoryRequest=512M\n") {
		t.Errorf("%s", u.Render())
	}
	for in, want := range map[string]int{"0.5": 500, "500m": 500, "50%": 500, "2": 2000, "1.25": 1250, "1m": 1} {
		if u := load(t, "a.service", simple+"[X-Argosy]\nCPURequest="+in+"\n"); u.Argosy.CPURequest != want {
			t.Errorf("%s: %d", in, u.Argosy.CPURequest)
		}
	}
	for in, want := range map[string]HealthCheck{
		"tcp://:6379":           {Kind: "tcp", Target: "127.0.0.1:6379"},
		"tcp://10.0.0.1:1":      {Kind: "tcp", Target: "10.0.0.1:1"},
		"https://x.y/a?b=c":     {Kind: "https", Target: "https://x.y/a?b=c"},
		"http://[::1]:80":       {Kind: "http", Target: "http://[::1]:80/"},
		`exec:/bin/check "a b"`: {Kind: "exec", Command: []string{"/bin/check", "a b"}},
	} {
		u := load(t, "a.service", simple+"[X-Argosy]\nHealthCheck="+in+"\n")
		want.Interval, want.Timeout, want.Retries = DefaultHealthInterval, DefaultHealthTimeout, DefaultHealthRetries
		if !reflect.DeepEqual(*u.Argosy.HealthCheck, want) {
			t.Errorf("%s: %+v", in, u.Argosy.HealthCheck)
		}
	}
}

func TestArgosyRefusals(t *testing.T) {
	for text, want := range map[string]string{
		"MemoryReqest=1G\n": "did you mean MemoryRequest=?", "MemoryRequest=lots\n": "is not a size", "MemoryRequest=20%\n": "a request is an amount",
		"CPURequest=0\n": "is not an amount of CPU", "CPURequest=-1\n": "is not an amount of CPU", "CPURequest=1e9\n": "is not an amount of CPU",
		"Port=0\n": "is not a port", "Port=65536\n": "is not a port", "Port=80/sctp\n": "is not a port", "Port=host:80\n": "is not an IP address",
		"HealthCheck=ftp://x\n": "is not a health check", "HealthCheck=tcp://x\n": "needs a port", "HealthCheck=exec:\n": "is not a command",
		"HealthCheck=http://a:0/\n": "is not a port", "HealthCheck=http://u:p@h/\n": "is not a health check", "HealthInterval=0\n": "longer than nothing",
		"HealthRetries=0\n": "from 1 to", "Priority=9999\n": "from -1000", "Exclusive=perhaps\n": "not a boolean", "Spread=a/b\n": "not a metadata key",
		"Zzz=1\n": `unknown key "Zzz" in section [X-Argosy]`, "Monitor=infinity\n": "not a time span",
	} {
		refuse(t, "a.service", simple+"[X-Argosy]\n"+text, 4, want)
	}
	u := load(t, "a.service", simple+"[X-Argosy]\nHealthInterval=5\n")
	if len(u.Warnings) != 1 || u.Argosy.HealthCheck != nil {
		t.Errorf("%v", u.Warnings)
	}
}

func TestDemand(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{simple, "16777216 Argosy's default, 10 Argosy's default"},
		{simple + "MemoryMax=1G\nCPUQuota=150%\n", "1073741824 MemoryMax= of [Service], 1500 CPUQuota= of [Service]"},
		{simple + "MemoryMax=1G\nMemoryHigh=512M\nMemoryLow=5M\nMemoryMin=6M\n", "6291456 MemoryMin= of [Service], 10 Argosy's default"},
		{simple + "MemoryMax=1G\nMemoryLow=5M\n", "5242880 MemoryLow= of [Service], 10 Argosy's default"},
		{simple + "MemoryMax=20%\nMemoryHigh=infinity\nMemoryLimit=7M\n", "7340032 MemoryLimit= of [Service], 10 Argosy's default"},
		{simple + "MemoryMax=1G\n[X-Argosy]\nMemoryRequest=1M\nCPURequest=2\n", "1048576 MemoryRequest= of [X-Argosy], 2000 CPURequest= of [X-Argosy]"},
		{"[Service]\nExecStart=/usr/bin/docker run --rm -m 512m --cpus=.5 --name x image -m 1g\n", "536870912 -m of docker in ExecStart=, 500 --cpus of docker in ExecStart="},
		{"[Service]\nExecStart=/usr/bin/podman --log-level debug run -dit --memory=1g --memory-reservation 256m image\n", "268435456 --memory-reservation of podman in ExecStart=, 10 Argosy's default"},
		{"[Service]\nExecStart=/bin/sh -c \"exec docker run -m1.5g image\"\n", "1610612736 -m of docker in ExecStart=, 10 Argosy's default"},
		{"[Service]\nExecStart=/usr/bin/docker logs -f run -m 5g\n", "16777216 Argosy's default, 10 Argosy's default"},
	} {
		d := load(t, "a.service", c.text).Demand()
		if got := fmt.Sprintf("%d %s, %d %s", d.Request.Memory, d.From["memory"], d.Request.CPU, d.From["cpu"]); got != c.want {
			t.Errorf("%s\n got  %s\n want %s", c.text, got, c.want)
		}
	}
	d := load(t, "web@1.service", "[Service]\nExecStart=/usr/bin/docker run -p 80:8080 -p8443:443/tcp --publish 127.0.0.1:5000-5002:5000-5002/udp -p 90 -P -e A=b --name=%p image -p 1:1\n[X-Argosy]\nPort=80 9000\nDiskRequest=1G\n[X-Fleet]\nMachineOf=x.service\n").Demand()
	want := []Port{{80, "tcp", ""}, {9000, "tcp", ""}, {8443, "tcp", ""}, {5000, "udp", "127.0.0.1"}, {5001, "udp", "127.0.0.1"}, {5002, "udp", "127.0.0.1"}}
	if !reflect.DeepEqual(d.Ports, want) || d.From["ports"] != "Port= of [X-Argosy], -p of docker in ExecStart=" {
		t.Errorf("%v %v", d.Ports, d.From)
	}
	if d.Service != "web@.service" || d.Request.Disk != 1<<30 || d.MachineOf[0] != "x.service" {
		t.Errorf("%+v", d)
	}
	if d := load(t, "a.timer", "[Timer]\nOnBootSec=1\n").Demand(); d.Request != (Resources{}) || d.Service != "a.timer" {
		t.Errorf("%+v", d)
	}
}
