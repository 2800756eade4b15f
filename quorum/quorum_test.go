package quorum_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"argosy.dev/argosy/quorum"
)

var update = flag.Bool("update", false, "write the drawings anew")

// world is a cluster that does what quorum decides.
type world struct {
	quorum.Input
	nextID uint64
	slow   map[string]bool // Machines whose learner does not start.
}

func newWorld() *world {
	return &world{Input: quorum.Input{Wish: 3, Now: time.Unix(1_000_000, 0)}, nextID: 1, slow: map[string]bool{}}
}

func (w *world) machine(id string) *quorum.Machine {
	for i := range w.Machines {
		if w.Machines[i].ID == id {
			return &w.Machines[i]
		}
	}
	return nil
}

func (w *world) member(id string) *quorum.Member {
	for i := range w.Members {
		if w.Members[i].MachineID == id {
			return &w.Members[i]
		}
	}
	return nil
}

func url(id string) string { return "https://" + id + ":7444" }

func (w *world) addMachine(id, zone string) {
	w.Machines = append(w.Machines, quorum.Machine{
		ID: id, Name: id, Zone: zone, PeerURL: url(id), CanServe: true, Alive: true, Since: w.Now,
	})
}

func (w *world) addMember(id, peerURL string, learner bool) {
	m := quorum.Member{EtcdID: w.nextID, PeerURL: peerURL, Learner: learner, Since: w.Now}
	w.nextID++
	if !learner {
		m.MachineID, m.Started, m.Alive = id, true, true
		m.Leads = !slices.ContainsFunc(w.Members, func(o quorum.Member) bool { return o.Leads })
	}
	w.Members = append(w.Members, m)
}

// kill and revive are a machine's with its store; gone is a machine that a person removed.
func (w *world) kill(id string) { w.live(id, false) }

func (w *world) live(id string, alive bool) {
	if m := w.machine(id); m != nil && m.Alive != alive {
		m.Alive, m.Since = alive, w.Now
	}
	if m := w.member(id); m != nil && m.Alive != alive {
		m.Alive, m.Since = alive, w.Now
		w.lead()
	}
}

func (w *world) gone(id string) {
	w.live(id, false)
	w.Machines = slices.DeleteFunc(w.Machines, func(m quorum.Machine) bool { return m.ID == id })
}

// lead has the first voter that answers lead, when nobody does.
func (w *world) lead() {
	first := -1
	for i := range w.Members {
		m := &w.Members[i]
		if m.Learner || !m.Alive {
			m.Leads = false
		}
		if m.Leads {
			return
		}
		if first < 0 && !m.Learner && m.Alive {
			first = i
		}
	}
	if first >= 0 {
		w.Members[first].Leads = true
	}
}

// settle lets a learner on a living machine start, and the next time catch up.
func (w *world) settle() {
	for i := range w.Members {
		m := &w.Members[i]
		m.InSync = m.Alive && m.Learner
		if m.MachineID == "" {
			for _, on := range w.Machines {
				if on.PeerURL == m.PeerURL && on.Alive && !w.slow[on.ID] {
					m.MachineID, m.Started, m.Alive = on.ID, true, true
				}
			}
		}
	}
}

func (w *world) votes() (alive, voters int) {
	for _, m := range w.Members {
		if !m.Learner {
			voters++
			if m.Alive {
				alive++
			}
		}
	}
	return alive, voters
}

// do carries a step out as the store would, and complains about one that breaks the rules.
func (w *world) do(t *testing.T, s quorum.Step) {
	t.Helper()
	alive, voters := w.votes()
	if s.Kind != quorum.Nothing && alive < quorum.Majority(voters) {
		t.Fatalf("%s without a majority: %d of %d", s.Kind, alive, voters)
	}
	at := slices.IndexFunc(w.Members, func(m quorum.Member) bool { return m.EtcdID == s.EtcdID })
	switch s.Kind {
	case quorum.Nothing:
	case quorum.AddLearner:
		if slices.ContainsFunc(w.Members, func(m quorum.Member) bool { return m.Learner }) {
			t.Fatal("two changes in flight")
		}
		if on := w.machine(s.Machine); on == nil || !on.Alive || !on.CanServe || on.Leaving || w.member(s.Machine) != nil {
			t.Fatalf("a learner on %s", s.Machine)
		}
		w.addMember(s.Machine, s.PeerURL, true)
	case quorum.Promote:
		if !w.Members[at].InSync {
			t.Fatal("a vote for one that is behind")
		}
		w.Members[at].Learner = false
	case quorum.Remove:
		w.Members = slices.Delete(w.Members, at, at+1)
		w.lead()
	case quorum.UpdatePeer:
		w.Members[at].PeerURL = s.PeerURL
		w.Members[at].Alive = true
	}
	if alive, after := w.votes(); s.Kind != quorum.Nothing && (after == 0 || alive < quorum.Majority(after)) {
		t.Fatalf("after %s: %d of %d voters answer", s.Kind, alive, after)
	}
}

// draw: [m1*] a voter that leads, [m2] a voter, [m3 x] one that is away, (m4) a learner, m5 a machine without, - between.
func (w *world) draw() string {
	var voters, learners, rest []string
	for _, m := range w.Members {
		name := m.MachineID
		if name == "" {
			name = "at " + m.PeerURL
		}
		switch {
		case m.Learner:
			learners = append(learners, "("+name+")")
		case !m.Alive:
			voters = append(voters, "["+name+" x]")
		case m.Leads:
			voters = append(voters, "["+name+"*]")
		default:
			voters = append(voters, "["+name+"]")
		}
	}
	for _, m := range w.Machines {
		if w.member(m.ID) == nil {
			if !m.Alive {
				m.ID += " x"
			}
			rest = append(rest, m.ID)
		}
	}
	slices.Sort(voters)
	return strings.Join(append(append(voters, learners...), rest...), " ")
}

// command is one line of a drawing's story.
func (w *world) command(t *testing.T, line string) {
	t.Helper()
	f := strings.Fields(line)
	switch f[0] {
	case "wish":
		n, err := strconv.Atoi(f[1])
		if err != nil {
			t.Fatal(err)
		}
		w.Wish = n
	case "found": // found ID [ZONE]
		w.addMachine(f[1], strings.Join(f[2:], ""))
		w.addMember(f[1], url(f[1]), false)
	case "join": // join ID [ZONE]
		w.addMachine(f[1], strings.Join(f[2:], ""))
	case "kill":
		w.live(f[1], false)
	case "revive":
		w.live(f[1], true)
	case "gone":
		w.gone(f[1])
	case "leave":
		w.machine(f[1]).Leaving = true
	case "move":
		w.machine(f[1]).PeerURL = url(f[1] + "-moved")
	case "noaddress":
		w.machine(f[1]).PeerURL, w.machine(f[1]).CanServe = "", false
	case "slow": // The machine's learner does not start.
		w.slow[f[1]] = true
	case "wait":
		d, err := time.ParseDuration(f[1])
		if err != nil {
			t.Fatal(err)
		}
		w.Now = w.Now.Add(d)
	default:
		t.Fatalf("what is %q?", line)
	}
}

// TestDrawn runs the stories of testdata: lines of commands, each followed by every step and picture it leads to.
func TestDrawn(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no drawings", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := story(t, string(text))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			} else if got != string(text) {
				t.Errorf("%s has changed (go test ./quorum -update writes it anew):\n%s", file, got)
			}
		})
	}
}

func story(t *testing.T, text string) string {
	t.Helper()
	w := newWorld()
	var out strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "    ") {
			continue // What was drawn before.
		}
		out.WriteString(line + "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		for c := range strings.SplitSeq(line, ";") {
			w.command(t, strings.TrimSpace(c))
		}
		for range 40 {
			s := quorum.Decide(w.Input)
			fmt.Fprintf(&out, "    %-44s %s: %s\n", w.draw(), s.Kind, s.Reason)
			if s.Kind == quorum.Nothing {
				break
			}
			w.do(t, s)
			w.settle()
			w.settle()
		}
	}
	return out.String()
}

// TestAnyPictureConverges: from a picture drawn from a seed, with machines that come, go, die and move between the
// steps, no step breaks the majority; when the trouble is over, the members are what is wished.
func TestAnyPictureConverges(t *testing.T) {
	for seed := range uint64(3000) {
		if !t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { random(t, seed) }) {
			return
		}
	}
}

func random(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 3))
	w := newWorld()
	w.Wish = []int{0, 1, 2, 3, 5, 9}[r.IntN(6)]
	n := 1 + r.IntN(9)
	for i := range n {
		w.addMachine(fmt.Sprintf("m%d", i), string(rune('a'+r.IntN(4))))
	}
	for i := range 1 + r.IntN(min(n, 6)) {
		w.addMember(fmt.Sprintf("m%d", i), url(fmt.Sprintf("m%d", i)), false)
	}
	for range r.IntN(60) {
		trouble(w, r)
		for range r.IntN(4) {
			w.do(t, quorum.Decide(w.Input))
			if r.IntN(3) > 0 {
				w.settle()
			}
		}
		w.Now = w.Now.Add(time.Duration(r.IntN(300)) * time.Second)
	}
	for i := range w.Machines { // Everybody comes back.
		w.live(w.Machines[i].ID, true)
		w.Machines[i].CanServe = true
	}
	var last quorum.Step
	for range 100 {
		w.settle()
		last = quorum.Decide(w.Input)
		w.do(t, last)
		if last.Kind == quorum.Nothing {
			if last.After == 0 {
				break
			}
			w.Now = w.Now.Add(last.After)
		}
	}
	check(t, w, last)
}

func trouble(w *world, r *rand.Rand) {
	if len(w.Machines) == 0 {
		return
	}
	m := &w.Machines[r.IntN(len(w.Machines))]
	alive, voters := w.votes()
	spare := alive > quorum.Majority(voters) // The world does not lose its majority by itself here.
	switch r.IntN(9) {
	case 0, 1:
		if on := w.member(m.ID); on == nil || on.Learner || spare {
			w.kill(m.ID)
		}
	case 2, 3, 4:
		w.live(m.ID, true)
	case 5:
		if on := w.member(m.ID); (on == nil || on.Learner || spare) && len(w.Machines) > 1 {
			w.gone(m.ID)
		}
	case 6:
		m.PeerURL = url(fmt.Sprint(m.ID, "-", r.IntN(1000)))
	case 7:
		m.Leaving = !m.Leaving && r.IntN(2) == 0
	case 8:
		w.addMachine(fmt.Sprint("n", len(w.Machines), "-", r.IntN(1_000_000)), string(rune('a'+r.IntN(4))))
	}
}

// check says whether a picture is what is wished: as many voters as there are machines for, odd, and spread.
func check(t *testing.T, w *world, last quorum.Step) {
	t.Helper()
	stay := 0
	for _, m := range w.Machines {
		if !m.Leaving {
			stay++
		}
	}
	want := quorum.MaxVoters
	if w.Wish > 0 {
		want = min(w.Wish, want)
	}
	if want = min(want, stay); want%2 == 0 {
		want--
	}
	want = max(want, 1)
	zones := map[string]int{}
	for _, m := range w.Members {
		on := w.machine(m.MachineID)
		switch {
		case m.Learner:
			t.Errorf("a learner stays: %s", w.draw())
		case on == nil || on.Leaving && stay > 0:
			t.Errorf("a machine that was to leave holds the store: %s", w.draw())
		case on.PeerURL != m.PeerURL:
			t.Errorf("%s moved to %s and the members know %s", on.ID, on.PeerURL, m.PeerURL)
		}
		if on != nil {
			zones[on.Zone]++
		}
	}
	if _, voters := w.votes(); voters != want || last.Kind != quorum.Nothing {
		t.Fatalf("%d voters, want %d; last %s: %s; %s", voters, want, last.Kind, last.Reason, w.draw())
	}
	for _, m := range w.Machines {
		for _, n := range zones {
			if !m.Leaving && w.member(m.ID) == nil && want > 1 && zones[m.Zone] <= n-2 {
				t.Errorf("zone %s could have one more: %v", m.Zone, zones)
			}
		}
	}
}
