package light

import (
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestPowerLoss(t *testing.T) {
	b := Hosts(t, 2, Options{DiskMiB: 64})
	h := b.Hosts()[0]
	must(t, h.Reboot()) // The first thing that happens to it.
	for round := range 3 {
		h.Run(t, "sh", "-c", "mkdir -p /var/lib/x; echo kept >/var/lib/x/synced; sync /var/lib/x/synced /var/lib/x; echo lost >/var/lib/x/unsynced")
		if got := h.Run(t, "cat", "/var/lib/x/unsynced"); got != "lost\n" {
			t.Fatalf("before: %q", got)
		}
		boot := h.Run(t, "cat", "/proc/sys/kernel/random/boot_id")
		must(t, h.Kill())
		if _, errs, code := h.Exec(t.Context(), "true"); code != -1 || !strings.Contains(errs, "is off") {
			t.Errorf("a host without power executes: %d %q", code, errs)
		}
		must(t, h.On())
		if got := h.Run(t, "cat", "/var/lib/x/synced"); got != "kept\n" {
			t.Errorf("round %d: what was synced is %q", round, got)
		}
		if out, _, _ := h.Exec(t.Context(), "cat", "/var/lib/x/unsynced"); strings.Contains(out, "lost") {
			t.Errorf("round %d: what was not synced is there: %q", round, out)
		}
		if got := h.Run(t, "cat", "/proc/sys/kernel/random/boot_id"); got == boot {
			t.Error("the boot id is the old one")
		}
		if got := h.Run(t, "cat", "/etc/machine-id"); got != h.MachineID+"\n" {
			t.Errorf("the machine id is %q", got)
		}
		if got := len(strings.Fields(h.Run(t, "sh", "-c", "echo /proc/[0-9]*"))); got > 2 { // PID 1 and the shell.
			t.Errorf("%d processes after a power loss", got)
		}
	}
	if _, _, code := b.Hosts()[1].Exec(t.Context(), "true"); code != 0 {
		t.Error("another host is disturbed")
	}
}

// What a program has said to be on the disk is there, wherever the power loss came.
func TestAcknowledgedWritesOutlastPowerLoss(t *testing.T) {
	h := Hosts(t, 1, Options{DiskMiB: 64}).Hosts()[0]
	const writer = `mkdir -p /var/w; cd /var/w; sync / /var /var/w; i=$1; while :; do i=$((i+1)); echo $i >$i && sync $i . && echo $i; done`
	done := 0
	for round := range 5 {
		p, err := h.Start("sh", "-c", writer, "sh", strconv.Itoa(done))
		must(t, err)
		eventually(t, "it writes", func() bool { return strings.Count(p.Output(), "\n") >= 10 })
		must(t, h.Kill())
		<-p.Done()
		said := strings.Fields(p.Output())
		done += len(said)
		must(t, h.On())
		for _, n := range said {
			if got, _, _ := h.Exec(t.Context(), "cat", "/var/w/"+n); got != n+"\n" {
				t.Errorf("round %d: write %s was acknowledged and is %q", round, n, got)
			}
		}
	}
	t.Logf("%d acknowledged writes in 5 power losses", done)
}

// A tmpfs loses processes only; that is what Options says.
func TestPowerLossOfTmpfs(t *testing.T) {
	h := Hosts(t, 1, Options{}).Hosts()[0]
	h.Write(t, "/var/x", []byte("there"))
	must(t, h.Reboot())
	if got := h.Run(t, "cat", "/var/x"); got != "there" {
		t.Errorf("%q", got)
	}
}

func TestFreeze(t *testing.T) {
	b := Hosts(t, 2, Options{})
	h := b.Hosts()[0]
	p, err := h.Start("sh", "-c", "while :; do echo tick; sleep 0.01; done")
	must(t, err)
	eventually(t, "it ticks", func() bool { return len(p.Output()) > 0 })
	must(t, h.Freeze())
	before := p.Output()
	<-time.After(short)
	if after := p.Output(); after != before {
		t.Errorf("a frozen host writes: %d, then %d bytes", len(before), len(after))
	}
	if _, _, code := b.Hosts()[1].Exec(t.Context(), "true"); code != 0 {
		t.Error("the other host is frozen too")
	}
	must(t, h.Thaw())
	eventually(t, "it goes on", func() bool { return len(p.Output()) > len(before) })
	must(t, h.Freeze())
	must(t, h.Reboot())
	h.Run(t, "true")
}

func TestDiskFull(t *testing.T) {
	for name, o := range map[string]Options{"ext4": {DiskMiB: 64}, "tmpfs": {}} {
		t.Run(name, func(t *testing.T) {
			b := Hosts(t, 2, o)
			h := b.Hosts()[0]
			const write = "head -c 10000 /etc/services >/var/new && sync /var/new"
			full := func() {
				t.Helper()
				if _, errs, code := h.Exec(t.Context(), "sh", "-c", write); code == 0 || !strings.Contains(errs, "No space left") {
					t.Errorf("exit %d, %q", code, errs)
				}
			}
			must(t, h.FillDisk())
			full()
			b.Hosts()[1].Run(t, "sh", "-c", write)
			must(t, h.Reboot())
			full()
			must(t, h.FreeDisk())
			h.Run(t, "sh", "-c", write)
		})
	}
}

// Nothing of a host without power can be changed but its address, and everybody says so.
func TestNoPower(t *testing.T) {
	b := Hosts(t, 1, Options{DiskMiB: 32})
	h := b.Hosts()[0]
	must(t, h.Kill())
	fails := 0
	b.fail = func(error) { fails++ }
	for name, do := range map[string]func() error{"kill": h.Kill, "freeze": h.Freeze, "thaw": h.Thaw, "fill": h.FillDisk, "free": h.FreeDisk} {
		if err := do(); err == nil || !strings.Contains(err.Error(), "h1 is off") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if fails != 5 {
		t.Errorf("the test failed %d times", fails)
	}
	if _, err := h.Dial(t.Context(), "tcp4", "127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "h1 is off") {
		t.Errorf("dial: %v", err)
	}
	must(t, h.ChangeIP("10.1.1.1"))
	must(t, h.On())
	if err := h.On(); err == nil || !strings.Contains(err.Error(), "h1 is on") {
		t.Errorf("on twice: %v", err)
	}
	if got := h.Run(t, "cat", "/etc/hosts"); got != "10.1.1.1 h1\n127.0.0.1 localhost\n" {
		t.Errorf("%q", got)
	}
}

// A host whose PID 1 is gone is as one that hangs: it has power, answers nobody, and is killed and started again.
func TestPID1Dies(t *testing.T) {
	b := Hosts(t, 1, Options{DiskMiB: 32})
	h := b.Hosts()[0]
	all, err := Find()
	must(t, err)
	for _, f := range all {
		if f.Bed == b.Name() {
			must(t, syscall.Kill(f.PID, syscall.SIGKILL))
		}
	}
	eventually(t, "it does not answer", func() bool {
		_, _, code := h.Exec(t.Context(), "true")
		return code == -1
	})
	must(t, h.Reboot())
	h.Run(t, "true")
}
