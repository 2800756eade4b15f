//go:build plantedbug_noretry

package leader

const planted = "noretry"
