package api

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
	"argosy.dev/argosy/wire"
)

// Bounds of an explanation.
const (
	maxRefusals   = 20              // Machines whose refusal is told one by one.
	maxChanged    = 6               // Things that people changed before.
	maxTimeline   = 20              // Events of the unit.
	maxLog        = 10              // Log lines.
	changedBefore = 5 * time.Minute // What people changed on other units so shortly before is told, too.
)

// whyInput is all that an explanation is made from.
type whyInput struct {
	answer     cluster.Answer
	now        time.Time
	siblings   []cluster.Answer // The other instances of the same template.
	neighbours []cluster.Answer // The other units on the same machine.
	placed     *reason.Reason
	candidates []reason.Candidate // The machines that were refused.
	events     []wire.Event       // Of the unit, oldest first.
	wishes     []wire.Event       // What people asked of any unit, oldest first.
	log        []string
}

// explain says why a unit is as it is. It decides from its input alone.
func explain(in whyInput) wire.Why {
	a := in.answer
	w := wire.Why{Answer: a, Headline: headline(in), Timeline: lastN(withoutSteps(in.events), maxTimeline), Log: lastN(in.log, maxLog)}
	if a.Reason != nil && !isFine(a) {
		w.Cause = string(a.Reason.Code) + ": " + a.Reason.Message()
		w.Sure = sure(a.Reason)
	}
	w.Compare = compare(in)
	w.Changed = changed(in)
	w.Placed = placed(in)
	w.Try = try(in)
	return w
}

func lastN[T any](s []T, n int) []T { return s[max(0, len(s)-n):] }

// withoutSteps leaves out the steps of every start that take no time and were passed: that the leader, the machine and
// its runtime have not looked yet. One that a unit is still at stays.
func withoutSteps(events []wire.Event) []wire.Event {
	out := make([]wire.Event, 0, len(events))
	for i, e := range events {
		if i < len(events)-1 && e.Kind == wire.EventState && e.Reason != nil {
			switch e.Reason.Code {
			case reason.NotScheduled, reason.NotTaken, reason.Loading:
				continue
			default: // Worth a line.
			}
		}
		out = append(out, e)
	}
	return out
}

// isFine tells whether nothing is wrong with a unit: it is as it was asked to be.
func isFine(a cluster.Answer) bool {
	switch a.State {
	case cluster.Healthy, cluster.FinishedOK, cluster.Stopped:
		return a.Reason == nil || a.Reason.Cure() == reason.Fine || a.Template
	default: // On its way, or in trouble.
		return false
	}
}

// clock writes a moment as people do: the time, and the day when it is another one.
func clock(t, now time.Time) string {
	t, now = t.UTC(), now.UTC()
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format("15:04:05")
	}
	return t.Format("2006-01-02 15:04:05")
}

var phrases = map[cluster.State]string{
	cluster.Healthy: "healthy", cluster.Starting: "starting", cluster.Unhealthy: "running, but unhealthy",
	cluster.CrashLooping: "crash-looping", cluster.BackingOff: "not running, backing off", cluster.Failing: "failing",
	cluster.Failed: "not running", cluster.Unplaced: "on no machine", cluster.Waiting: "waiting", cluster.Draining: "on its way down",
	cluster.Lost: "not heard of", cluster.FinishedOK: "finished", cluster.Stopped: "stopped",
}

// headline is one line: what is so, where, since when, how often it was tried.
func headline(in whyInput) string {
	a := in.answer
	phrase := phrases[a.State]
	if phrase == "" {
		phrase = string(a.State)
	}
	if a.Template {
		return a.Unit + " is a template: it is never running itself"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s - %s", a.Unit, phrase)
	if a.Machine != "" {
		fmt.Fprintf(&b, " on %s", a.Machine)
	}
	if a.Global && len(a.On) > 1 {
		fmt.Fprintf(&b, " (the worst of %d machines)", len(a.On))
	}
	if !a.Since.IsZero() {
		fmt.Fprintf(&b, " since %s UTC", clock(a.Since, in.now))
	}
	if tries := triesOf(in); len(tries) > 0 {
		fmt.Fprintf(&b, " (%s)", strings.Join(tries, ", "))
	}
	if isFine(a) {
		b.WriteString("; nothing wrong" + calm(in))
	}
	return b.String()
}

func triesOf(in whyInput) []string {
	var out []string
	s := in.answer.Status
	if s != nil && s.Tries > 1 && !isFine(in.answer) {
		out = append(out, fmt.Sprintf("%d tries", s.Tries))
	}
	if s != nil && s.Restarts > 0 {
		out = append(out, plural(s.Restarts, "restart"))
	}
	if r := in.answer.Reason; r != nil && r.Code == reason.BackingOff {
		out = append(out, "next try in "+reason.Span(r.Int("next")))
	}
	if s != nil && !s.Next.IsZero() {
		out = append(out, "next run "+clock(s.Next, in.now)+" UTC")
	}
	return out
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// calm tells since when nothing is wrong: since the last event that was trouble.
func calm(in whyInput) string {
	for _, e := range slices.Backward(in.events) {
		if e.Kind == wire.EventState && trouble(e.State) {
			why := string(e.State)
			if e.Reason != nil {
				why = e.Reason.Short()
			}
			return fmt.Sprintf(" since %s UTC (before: %s)", clock(e.At, in.now), why)
		}
	}
	return " that is known of"
}

func trouble(s cluster.State) bool {
	switch s {
	case cluster.Unhealthy, cluster.CrashLooping, cluster.BackingOff, cluster.Failing, cluster.Failed, cluster.Unplaced, cluster.Lost:
		return true
	default: // As it was asked to be, or on its way there.
		return false
	}
}

// sure tells how a cause is known.
func sure(r *reason.Reason) string {
	switch r.Code {
	case reason.OOMKilled:
		return "sure: counted by the cgroup's oom_kill counter"
	case reason.PortTaken:
		return "sure: seen in the machine's socket table"
	case reason.ExecNotFound, reason.Permission:
		return "sure: the kernel's answer to the start of the program"
	case reason.ConfigMissing, reason.SecretMissing, reason.DirectoryMissing, reason.UserMissing, reason.GroupMissing, reason.SetupFailed:
		return "sure: the step before the start that failed"
	case reason.Exit, reason.Signal, reason.CoreDump:
		return "sure: the end of the process as the kernel told it; what led to it is in its log"
	case reason.CrashLoop:
		return "sure: counted; what led to each end is in its log"
	case reason.Unhealthy, reason.NotReady:
		return "sure: asked by the machine itself"
	case reason.StartTimeout, reason.StopTimeout, reason.Watchdog, reason.RuntimeMax:
		return "sure: measured"
	case reason.Preempted, reason.Replaced:
		return "sure: the leader's own decision"
	case reason.MachineRemoved:
		return "sure: the machine's record is no longer there"
	case reason.MachineCordoned:
		return "sure: a person said so"
	case reason.NoRoom, reason.NoRoomMemory, reason.NoRoomCPU, reason.NoRoomDisk, reason.NoRoomPort:
		return "sure: added up from what is promised on each machine"
	case reason.NoMachine, reason.NoMachineID, reason.NoMachineMetadata, reason.NoMachineConflict, reason.NoMachinePeer, reason.NoMachinePeerAbsent, reason.NoMachineRuntime:
		return "sure: compared with each machine's record"
	case reason.DependencyFailed:
		return "sure: the other unit's own state; argosy why " + r.Str("dependency")
	case reason.MachineLost, reason.MachineDown:
		return "not sure: the machine is silent, what runs there may still run"
	case reason.CannotStart, reason.Protocol, reason.RuntimeDown:
		return "the runtime's own words"
	default: // It says itself how it is known, or is no cause.
		return ""
	}
}

// group counts answers: how many are well, and how many have the same reason as the unit.
type group struct {
	all, well, same int
	machines        []string // Where it goes well.
}

func groupOf(answers []cluster.Answer, a cluster.Answer) group {
	g := group{}
	for _, o := range answers {
		if o.Template || o.Desired == cluster.Inactive {
			continue
		}
		g.all++
		switch {
		case o.State == cluster.Healthy || o.State == cluster.FinishedOK:
			g.well++
			if o.Machine != "" && !slices.Contains(g.machines, o.Machine) {
				g.machines = append(g.machines, o.Machine)
			}
		case a.Reason != nil && o.Reason != nil && o.Reason.Code == a.Reason.Code:
			g.same++
		}
	}
	slices.SortFunc(g.machines, unit.CompareNames)
	return g
}

// compare sets the unit beside its likes, and says what follows from it.
func compare(in whyInput) []string {
	a := in.answer
	var out []string
	kin, near := groupOf(in.siblings, a), groupOf(in.neighbours, a)
	if kin.all > 0 {
		s := fmt.Sprintf("same template: %d of %d others are healthy", kin.well, kin.all)
		if len(kin.machines) > 0 {
			s += " (on " + strings.Join(lastN(kin.machines, maxRefusals), ", ") + ")"
		}
		if kin.same > 0 {
			s += fmt.Sprintf(", %d fail the same way", kin.same)
		}
		out = append(out, s)
	}
	if near.all > 0 && a.Machine != "" {
		s := fmt.Sprintf("on %s: %d of %d other units are healthy", a.Machine, near.well, near.all)
		if near.same > 0 {
			s += fmt.Sprintf(", %d fail the same way", near.same)
		}
		out = append(out, s)
	}
	if v := verdictOf(in, kin, near); v != "" {
		out = append(out, v)
	}
	return out
}

// verdictOf says whose fault it looks like; nothing when the likes do not tell.
func verdictOf(in whyInput, kin, near group) string {
	a := in.answer
	if isFine(a) || !trouble(a.State) || a.Machine == "" {
		return ""
	}
	elsewhere := slices.ContainsFunc(kin.machines, func(m string) bool { return m != a.Machine })
	switch {
	case kin.all > 0 && kin.well == 0 && kin.same == kin.all:
		return "every instance fails the same way: the unit or its program, not the machine"
	case elsewhere && !slices.Contains(kin.machines, a.Machine) && (near.same > 0 || a.Scope == reason.ScopeMachine):
		return "the same unit is well elsewhere: the machine " + a.Machine + ", not the unit"
	case kin.well > 0 && slices.Contains(kin.machines, a.Machine):
		return "the same unit is well on the same machine: this instance alone"
	case near.all > 1 && near.same == near.all:
		return "every unit of the machine fails the same way: the machine " + a.Machine
	}
	return ""
}

// changed lists what people did before it came to this, and until when all was well.
func changed(in whyInput) []string {
	onset := in.answer.Since
	if onset.IsZero() {
		onset = in.now
	}
	template := ""
	if n := unit.Name(in.answer.Unit); n.IsInstance() {
		template = string(n.Template())
	}
	var picked, others []wire.Event
	for _, e := range slices.Backward(in.wishes) {
		switch {
		case e.At.After(onset.Add(time.Second)):
		case e.Unit == in.answer.Unit, template != "" && e.Unit == template:
			picked = append(picked, e)
		case e.At.After(onset.Add(-changedBefore)) && !isFine(in.answer):
			others = append(others, e)
		}
	}
	picked = picked[:min(len(picked), maxChanged)]
	picked = append(picked, others[:min(len(others), maxChanged-len(picked))]...)
	slices.SortStableFunc(picked, func(a, b wire.Event) int { return a.At.Compare(b.At) })
	out := make([]string, 0, len(picked)+1)
	for _, e := range picked {
		line := clock(e.At, in.now) + " " + e.Unit + ": " + e.Message
		if e.Who != "" {
			line += " by " + e.Who
		}
		out = append(out, line)
	}
	if s := lastGood(in); s != "" {
		out = append(out, s)
	}
	return out
}

// lastGood tells until when the unit was healthy.
func lastGood(in whyInput) string {
	if isFine(in.answer) || len(in.events) == 0 {
		return ""
	}
	for _, e := range slices.Backward(in.events) {
		if e.Kind == wire.EventState && e.From == cluster.Healthy {
			return "it was healthy until " + clock(e.At, in.now)
		}
	}
	if in.events[0].Kind == wire.EventWish && strings.HasPrefix(in.events[0].Message, "submitted") {
		return "it was never healthy since it was submitted"
	}
	return ""
}

// placed says why it is where it is, and what each other machine has against it.
func placed(in whyInput) []string {
	var out []string
	if in.placed != nil {
		out = append(out, in.placed.Message())
	}
	for _, c := range in.candidates[:min(len(in.candidates), maxRefusals)] {
		why := make([]string, len(c.Because))
		for i, r := range c.Because {
			why[i] = r.Message()
		}
		out = append(out, c.Machine+" was refused: "+strings.Join(why, "; "))
	}
	if more := len(in.candidates) - maxRefusals; more > 0 {
		out = append(out, fmt.Sprintf("and %s more", plural(more, "machine")))
	}
	return out
}

// try lists what can be done next, most useful first.
func try(in whyInput) []string {
	a := in.answer
	if a.Reason == nil {
		return nil
	}
	var out []string
	add := func(s string) {
		if s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	hint := strings.ReplaceAll(a.Reason.Hint(), "; argosy why UNIT compares", "") // That is what is being read.
	add(strings.ReplaceAll(hint, "UNIT", a.Unit))
	if isFine(a) {
		return out
	}
	if ran(a) && !strings.Contains(a.Reason.Hint(), "argosy journal") {
		add("argosy journal " + a.Unit)
	}
	if a.Reason.Code == reason.Preempted {
		add("argosy why " + a.Reason.Str("by"))
	}
	switch {
	case a.Reason.Cure() == reason.Transient:
		add("wait: somebody is at work on it; argosy status " + a.Unit)
	case a.Reason.Scope() == reason.ScopeCluster:
		add("argosy list-machines")
	case a.Final:
		add("then argosy start " + a.Unit)
	}
	return out
}

// ran tells whether a process of the unit ran, so that it has a log.
func ran(a cluster.Answer) bool {
	if a.Status == nil {
		return false
	}
	switch a.Reason.Code {
	case reason.ExecNotFound, reason.Permission, reason.ConfigMissing, reason.SecretMissing, reason.UserMissing, reason.GroupMissing, reason.NameTaken,
		reason.DirectoryMissing, reason.PortTaken, reason.NotTaken, reason.Unsupported, reason.PropertyDiffers, reason.ConditionFailed,
		reason.WaitingFor, reason.DependencyFailed, reason.Loading, reason.TimerWaiting, reason.Preempted, reason.Replaced, reason.MachineRemoved:
		return false
	default: // Whatever else is said of it was seen of a process.
		return true
	}
}
