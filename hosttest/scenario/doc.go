// Package scenario holds the tests of a whole cluster: the real binary on real hosts of package light, with power loss,
// cuts and freezes. Each test says in its name or comment which scenario it is.
package scenario
