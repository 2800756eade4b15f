// Package unit reads, checks and writes systemd unit files: the parser with systemd's exact rules,
// the typed model, the canonical renderer, names and their arguments (globs, braces), fleet's
// [X-Fleet] and Argosy's [X-Argosy]. It is pure: text in, values out. It never touches a disk or a clock,
// and knows nothing of clusters.
package unit
