package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"argosy.dev/argosy/client"
	"argosy.dev/argosy/cmd/argosy/internal/show"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/wire"
)

func (a *app) etcdCommand() *cobra.Command {
	return group("etcd VERB", "The store of the cluster: how its members do, how many there are", `
The servers of a cluster hold its store, an etcd that administers itself: members are added, replaced and moved
without anybody's help. These verbs show what it does and why, and say how many members are wished.`,
		a.etcdStatusCommand(), a.serversCommand())
}

func (a *app) etcdStatusCommand() *cobra.Command {
	c := doc{
		use: "status", short: "Members, leader, lag, size, alarms, and why they are as they are",
		long: `
Shows every member of the store: whether it answers, whether it leads, how many entries it is behind, how much of its
quota is used, its alarms. Below, what the cluster decided last about the members, and why. It is answered also
without a majority, by what the server that is asked knows.

Ends with 1 when something is wrong with the store.`,
		example: `
  argosy etcd status
  argosy etcd status -o json`,
		exits: []int{exitOK, exitFailed, exitUsage, exitUnreachable, exitNotAllowed},
	}.command()
	c.Args = noArgs
	c.RunE = func(c *cobra.Command, _ []string) error {
		d, err := a.desk()
		if err != nil {
			return err
		}
		s, err := d.Store(c.Context())
		if err != nil {
			return err
		}
		if a.text() {
			err = a.showStore(*s)
		} else {
			err = a.emit(s)
		}
		if err == nil && !s.OK {
			err = exitWith(exitFailed)
		}
		return err
	}
	return c
}

// showStore writes the store as people read it.
func (a *app) showStore(s wire.StoreInfo) error {
	st := a.outStyle()
	head := st.Paint(show.Good, st.Tick()+" the store is well")
	if !s.OK {
		head = st.Paint(show.Bad, st.Cross()+" "+show.Clean(s.Why))
	}
	wish := "as many as there are servers, up to 5"
	if s.Wish > 0 {
		wish = strconv.Itoa(s.Wish)
	}
	lines := []string{
		head,
		fmt.Sprintf("voters %d · wished %s · living servers %d · cluster %s", voters(s), wish, s.Servers, s.Cluster),
	}
	if d := s.Decision; d != nil {
		lines = append(lines, decided(*d, a.now()))
	}
	if sn := s.Snapshot; sn != nil {
		switch {
		case sn.Trouble != "":
			lines = append(lines, st.Paint(show.Bad, "snapshot: ")+show.Clean(sn.Trouble))
		case !sn.Last.IsZero():
			lines = append(lines, "last snapshot "+reason.Span(a.now().Sub(sn.Last).Milliseconds())+" ago")
		}
	}
	for _, t := range s.Trouble {
		if t.Reason != nil {
			lines = append(lines, st.Paint(show.Bad, t.Kind+": ")+show.Clean(t.Reason.Message()))
		}
	}
	lines = append(lines, restoredLines(s)...)
	if len(s.Away) > 0 {
		lines = append(lines, "did not answer: "+strings.Join(s.Away, ", "))
	}
	if err := a.printAll(append(lines, "")); err != nil {
		return err
	}
	var rows [][]string
	for _, m := range s.Members {
		rows = append(rows, memberRow(m))
	}
	return a.columns([]string{"MEMBER", "ROLE", "STATE", "BEHIND", "ANSWER", "SIZE", "IN USE", "ADDRESS", "ID"}, rows)
}

// decided is what was decided last, in a line.
func decided(d wire.StoreDecision, now time.Time) string {
	why := ""
	if d.Reason != nil {
		why = show.Clean(d.Reason.Message())
	}
	if d.Trouble != nil {
		why += "; not yet: " + show.Clean(d.Trouble.Message())
	}
	return fmt.Sprintf("decided by %s %s ago: %s", d.By, reason.Span(max(0, now.Sub(d.At).Milliseconds())), cmp.Or(why, d.Step))
}

// restoredLines tell of a restore that nobody has settled.
func restoredLines(s wire.StoreInfo) []string {
	if s.Restored == nil {
		return nil
	}
	lines := []string{fmt.Sprintf("restored from %s at %s: what is not in it goes on; argosy snapshot settle ends that", show.Clean(s.Restored.From), s.Restored.At.Local().Format(time.DateTime))}
	for _, m := range slices.Sorted(maps.Keys(s.Unknown)) {
		lines = append(lines, "  unknown, running on "+m+": "+show.Clean(strings.Join(s.Unknown[m], " ")))
	}
	return lines
}

func voters(s wire.StoreInfo) int {
	n := 0
	for _, m := range s.Members {
		if m.Role == "voter" {
			n++
		}
	}
	return n
}

func memberRow(m wire.StoreMember) []string {
	state := "answers"
	switch {
	case len(m.Alarms) > 0:
		state = strings.Join(m.Alarms, ",")
	case !m.Started:
		state = "joining"
	case !m.Answered && m.Reached:
		state = "hangs"
	case !m.Answered:
		state = "away"
	case m.Leads:
		state = "leads"
	}
	row := []string{m.Name, m.Role, state, "-", "-", "-", "-", m.Address, m.ID}
	if m.Answered {
		row[3], row[4] = strconv.FormatUint(m.Behind, 10), strconv.FormatInt(m.TookMS, 10)+"ms"
		row[5], row[6] = reason.Bytes(m.Size), reason.Bytes(m.InUse)+"/"+reason.Bytes(m.Quota)
	}
	return row
}

func (a *app) serversCommand() *cobra.Command {
	var wait bool
	var within time.Duration
	c := doc{
		use: "servers N|auto [--wait] [--timeout=5m]", short: "How many machines are to hold the store: 1, 3 or 5",
		long: `
Sets how many servers hold the store and vote; auto takes as many as there are, up to 5. The cluster gets there by
itself, one member at a time, spread over zones. An even number survives no more losses than one less, so 1, 3 and 5
are taken. More servers than that stand by and take the place of one that is lost.

--wait goes on until it is so.`,
		example: `
  argosy servers 3
  argosy servers 5 --wait`,
		exits: []int{exitOK, exitFailed, exitUsage, exitUnreachable, exitNotAllowed, exitTimeout},
	}.command()
	c.Flags().BoolVar(&wait, "wait", false, "go on until the store has so many voting members")
	c.Flags().DurationVar(&within, "timeout", 5*time.Minute, "how long --wait waits")
	c.Args = exactlyOne("a number: 1, 3, 5, or auto")
	c.RunE = func(c *cobra.Command, args []string) error {
		n, err := strconv.Atoi(strings.Replace(args[0], "auto", "0", 1))
		if err != nil || !slices.Contains([]int{0, 1, 3, 5}, n) {
			return usagef("1, 3 and 5 are; an even number survives no more losses than one less", "%q is not a number of machines that can hold the store", args[0])
		}
		d, err := a.desk()
		if err != nil {
			return err
		}
		if _, err := d.PatchSettings(c.Context(), wire.SettingsPatch{Servers: &n}); err != nil {
			return err
		}
		s, err := d.Store(c.Context())
		if err != nil {
			return err
		}
		if !a.quiet {
			a.note("%s", prospect(*s, n))
		}
		if wait {
			if s, err = a.awaitVoters(c.Context(), d, n, within); err != nil {
				return err
			}
		}
		if !a.text() {
			return a.emit(s)
		}
		return nil
	}
	return c
}

// aim is how many voters are to be had with the servers that live.
func aim(s wire.StoreInfo, wish int) int {
	if wish == 0 {
		wish = min(5, s.Servers)
	}
	have := min(wish, max(1, s.Servers))
	return have - 1 + have%2 // Odd.
}

// prospect says what will come of a wish.
func prospect(s wire.StoreInfo, wish int) string {
	now, to := voters(s), aim(s, wish)
	switch {
	case now == to && (wish == 0 || to == wish):
		return fmt.Sprintf("the store has %d voting members, as wished", now)
	case wish > to:
		return fmt.Sprintf("the store has %d voting members and comes to %d: %d servers live, and %d more are needed for %d: argosy token create --role server", now, to, s.Servers, wish-s.Servers, wish)
	case now < to:
		return fmt.Sprintf("the store grows from %d voting members to %d, one after the other", now, to)
	}
	return fmt.Sprintf("the store shrinks from %d voting members to %d, one after the other; the others stay agents and stand by", now, to)
}

const lookAgain = 500 * time.Millisecond

// awaitVoters waits until the store has so many voting members, all of which answer, and tells each decision on the way.
func (a *app) awaitVoters(ctx context.Context, d *client.Client, wish int, within time.Duration) (*wire.StoreInfo, error) {
	begun, last := a.now(), ""
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		s, err := d.Store(ctx)
		if err == nil {
			want := wish
			if want == 0 {
				want = aim(*s, wish)
			}
			if voters(*s) == want && len(s.Members) == want && s.OK {
				if !a.quiet {
					a.note("+%.1fs %d voting members, all answer", a.now().Sub(begun).Seconds(), want)
				}
				return s, nil
			}
			if s.Decision != nil && s.Decision.Reason != nil {
				if say := show.Clean(s.Decision.Reason.Message()); say != last && !a.quiet {
					a.note("+%.1fs %s", a.now().Sub(begun).Seconds(), say)
					last = say
				}
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if a.now().Sub(begun) < within {
				return nil, context.Cause(ctx)
			}
			return nil, &exitError{code: exitTimeout, err: fmt.Errorf("after %v the store has not %d voting members: %s", within, wish, cmp.Or(last, "nothing was decided yet")), hint: "argosy etcd status"}
		}
	}
}
