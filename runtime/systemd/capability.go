package systemd

import (
	"math"
	"slices"
	"strings"

	"argosy.dev/argosy/unit"
)

// capabilities are the kernel's names in the order of their numbers (capabilities(7), linux/capability.h).
var capabilities = strings.Fields(`
	cap_chown cap_dac_override cap_dac_read_search cap_fowner cap_fsetid cap_kill cap_setgid cap_setuid cap_setpcap
	cap_linux_immutable cap_net_bind_service cap_net_broadcast cap_net_admin cap_net_raw cap_ipc_lock cap_ipc_owner
	cap_sys_module cap_sys_rawio cap_sys_chroot cap_sys_ptrace cap_sys_pacct cap_sys_admin cap_sys_boot cap_sys_nice
	cap_sys_resource cap_sys_time cap_sys_tty_config cap_mknod cap_lease cap_audit_write cap_audit_control cap_setfcap
	cap_mac_override cap_mac_admin cap_syslog cap_wake_alarm cap_block_suspend cap_audit_read cap_perfmon cap_bpf
	cap_checkpoint_restore`)

// capabilitySet reads a list of capabilities by the rules of systemd.exec(5): lines add up, an empty one resets, "~"
// takes away. unset is what counts when the key is not written. known is false when a name is newer than this list.
func capabilitySet(f *unit.File, key string, unset uint64) (set uint64, known bool) {
	set, known = unset, true
	written := false
	for _, s := range f.Sections {
		if s.Name != "Service" {
			continue
		}
		for _, o := range s.Options {
			if o.Key != key {
				continue
			}
			value, inverted := strings.CutPrefix(strings.TrimSpace(o.Value), "~")
			line, ok := capabilityLine(value)
			known = known && ok
			switch {
			case strings.TrimSpace(o.Value) == "":
				set = 0
			case inverted && !written:
				set = math.MaxUint64 &^ line
			case inverted:
				set &^= line
			case !written:
				set = line
			default:
				set |= line
			}
			written = true
		}
	}
	return set, known
}

func capabilityLine(value string) (set uint64, known bool) {
	known = true
	for word := range strings.FieldsSeq(value) {
		i := slices.Index(capabilities, strings.ToLower(strings.Trim(word, `"'`)))
		if i < 0 {
			known = false
			continue
		}
		set |= 1 << i
	}
	return set, known
}

// capabilityNames is a set for people.
func capabilityNames(set uint64) string {
	all := uint64(1)<<len(capabilities) - 1
	switch set & all {
	case 0:
		return "none"
	case all:
		return "all"
	}
	var names []string
	for i, name := range capabilities {
		if set&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}
