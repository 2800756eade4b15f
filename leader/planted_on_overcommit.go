//go:build plantedbug_overcommit

package leader

const planted = "overcommit"
