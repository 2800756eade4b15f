//go:build plantedbug_twoplaces

package leader

const planted = "twoplaces"
