package systemd

import (
	"context"
	"fmt"
	"math"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

// verify compares what PID 1 made of a unit with what was loaded. A difference in who runs what with which rights
// means that a reader was fooled or that somebody else changes the unit, and it is not started.
// Drop-ins for all units of a type (service.d/) are the machine's own policy and allowed; what they change is compared.
func (r *Runtime) verify(ctx context.Context, u *unit.Unit) error {
	name := string(u.Name)
	p, err := r.bus.properties(ctx, name, unitIface)
	if err != nil {
		return err
	}
	if p.flag("NeedDaemonReload") {
		if err := r.bus.call(ctx, "Reload", nil); err != nil {
			return fmt.Errorf("systemd daemon-reload: %w", err)
		}
		if p, err = r.bus.properties(ctx, name, unitIface); err != nil {
			return err
		}
	}
	if s := p.text("LoadState"); s != "loaded" {
		return reason.Because(reason.CannotStart, reason.Args{"error": "systemd did not load it (" + s + "): " + loadError(p)})
	}
	if err := verifyOrigin(name, p); err != nil {
		return err
	}
	if u.Service == nil {
		return nil
	}
	sp, err := r.bus.properties(ctx, name, serviceIface)
	if err != nil {
		return err
	}
	return verifyService(u, sp)
}

func loadError(p props) string {
	if f, ok := p.value("LoadError").([]any); ok && len(f) == 2 {
		return text(f[1])
	}
	return "no cause given"
}

// verifyOrigin makes sure that the unit is our file and nothing else for this name.
func verifyOrigin(name string, p props) error {
	want := filepath.Join(unitDir, name)
	if have := p.text("FragmentPath"); have != want {
		return differs("FragmentPath", want, have)
	}
	own := filepath.Join(want+".d", dropIn)
	forAll := unit.Name(name).Type() + ".d"
	for _, d := range p.texts("DropInPaths") {
		if d != own && filepath.Base(filepath.Dir(d)) != forAll {
			return differs("DropInPaths", "none of others", d)
		}
	}
	return nil
}

func differs(property, want, have string) error {
	return reason.Because(reason.PropertyDiffers, reason.Args{"property": property, "want": want, "have": have})
}

func verifyService(u *unit.Unit, p props) error {
	s := u.Service
	if !sameUser(s.Exec.User, p.text("User"), u.File) {
		return differs("User", orRoot(s.Exec.User), orRoot(p.text("User")))
	}
	if !sameUser(s.Exec.Group, p.text("Group"), u.File) {
		return differs("Group", orRoot(s.Exec.Group), orRoot(p.text("Group")))
	}
	if have := p.texts("SupplementaryGroups"); !slices.Equal(have, s.Exec.SupplementaryGroups) && len(have)+len(s.Exec.SupplementaryGroups) > 0 {
		return differs("SupplementaryGroups", strings.Join(s.Exec.SupplementaryGroups, " "), strings.Join(have, " "))
	}
	if s.Exec.NoNewPrivileges && !p.flag("NoNewPrivileges") {
		return differs("NoNewPrivileges", "yes", "no")
	}
	if err := verifyCapabilities(u.File, p); err != nil {
		return err
	}
	for _, e := range []struct {
		property string
		want     []unit.Command
	}{
		{"ExecCondition", s.ExecCondition},
		{"ExecStartPre", s.ExecStartPre},
		{"ExecStart", s.ExecStart},
		{"ExecStartPost", s.ExecStartPost},
		{"ExecReload", s.ExecReload},
		{"ExecStop", s.ExecStop},
		{"ExecStopPost", s.ExecStopPost},
	} {
		if err := verifyCommands(e.property, e.want, p.value(e.property+"Ex")); err != nil {
			return err
		}
	}
	return nil
}

// sameUser compares names. DynamicUser= makes one up where none is written: then only root is wrong.
func sameUser(want, have string, f *unit.File) bool {
	if want == "" && option(f, "DynamicUser") != "" {
		return orRoot(have) != "root" || have == ""
	}
	return orRoot(want) == orRoot(have)
}

func orRoot(user string) string {
	if user == "" || user == "0" {
		return "root"
	}
	return user
}

// option is the last value of a key in [Service], "" when it is not there.
func option(f *unit.File, key string) string {
	out := ""
	for _, s := range f.Sections {
		if s.Name != "Service" {
			continue
		}
		for _, o := range s.Options {
			if o.Key == key {
				out = o.Value
			}
		}
	}
	return out
}

// verifyCapabilities refuses more rights than the text gives. Fewer are what other directives take away:
// PrivateDevices=, ProtectClock=, ProtectKernelModules=, ProtectKernelLogs= (systemd.exec(5)).
func verifyCapabilities(f *unit.File, p props) error {
	for _, c := range []struct {
		key   string
		unset uint64
	}{{"CapabilityBoundingSet", math.MaxUint64}, {"AmbientCapabilities", 0}} {
		have, ok := p.value(c.key).(uint64)
		if !ok {
			continue
		}
		want, known := capabilitySet(f, c.key, c.unset)
		if known && have&^want != 0 {
			return differs(c.key, capabilityNames(want), capabilityNames(have))
		}
	}
	return nil
}

// command is one entry of systemd's Exec…Ex properties, a(sasasttttuii).
type command struct {
	path  string
	argv  []string
	flags []string
}

func commands(v any) []command {
	rows, _ := v.([][]any)
	out := make([]command, 0, len(rows))
	for _, row := range rows {
		if len(row) < 3 {
			continue
		}
		argv, _ := row[1].([]string)
		flags, _ := row[2].([]string)
		out = append(out, command{text(row[0]), argv, flags})
	}
	return out
}

func verifyCommands(property string, want []unit.Command, v any) error {
	have := commands(v)
	if property == "ExecStopPost" && len(have) == len(want)+1 && isHook(have[len(have)-1]) {
		have = have[:len(have)-1]
	}
	if len(have) != len(want) {
		return differs(property, strconv.Itoa(len(want))+" commands", strconv.Itoa(len(have)))
	}
	for i, w := range want {
		if h := have[i]; !sameCommand(w, h) {
			return differs(property, commandText(w.Path, w.Argv, flagsOf(w)), commandText(h.path, h.argv, h.flags))
		}
	}
	return nil
}

func sameCommand(w unit.Command, h command) bool {
	slices.Sort(h.flags)
	if len(w.Argv) == 0 || len(h.argv) != len(w.Argv) || !slices.Equal(w.Argv[1:], h.argv[1:]) || !slices.Equal(flagsOf(w), h.flags) {
		return false
	}
	if path.Clean(w.Argv[0]) != path.Clean(h.argv[0]) {
		return false
	}
	if !path.IsAbs(w.Path) { // PID 1 looks a bare name up in its own search path.
		return path.Base(h.path) == w.Path
	}
	return path.Clean(w.Path) == path.Clean(h.path)
}

// flagsOf gives systemd's words for the prefixes of a command, sorted.
func flagsOf(c unit.Command) []string {
	out := []string{}
	for flag, set := range map[string]bool{
		"ignore-failure": c.IgnoreFailure, "privileged": c.FullPrivileges, "ambient": c.Ambient, "no-env-expand": c.NoExpand,
		"no-setuid": c.NoSetuid,
	} {
		if set {
			out = append(out, flag)
		}
	}
	slices.Sort(out)
	return out
}

func commandText(path string, argv, flags []string) string {
	return fmt.Sprintf("%s %q %s", path, argv, strings.Join(flags, ","))
}
