// Package tidy is the law of the house, as a test: imports go down, pure rooms stay pure, no room is dead,
// every package says what it is for. Its rules stand in house.go; ARCHITECTURE.md explains them.
package tidy
