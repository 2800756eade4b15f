// Package start measures a whole machine as its user meets it: the start of many units until all run and until all
// are healthy, what the daemon costs when nothing happens, and how soon a crash is seen. It runs the real binary.
package start
