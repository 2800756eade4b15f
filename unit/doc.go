// Package unit reads, checks and writes systemd unit files: the parser with systemd's exact rules,
// the typed model, the canonical renderer, names and their arguments (globs, braces), fleet's
// [X-Fleet] and Argosy's [X-Argosy]. It is pure: text in, values out. It never touches a disk or a clock,
// and knows nothing of clusters.
//
// The yardstick is systemd 252. What it loads, Load loads to the same values; what it ignores with a log line is a warning
// and left out of the canonical text; what it refuses is an error. Deviations, all towards refusing: control
// characters in values, Exec arguments whose escapes give something else than UTF-8, unit names that begin with a dot,
// a broken drop-in (systemd takes its first half), an empty file (systemd takes it for a mask). In [X-Fleet] and [X-Argosy]
// nothing is ignored.
package unit
