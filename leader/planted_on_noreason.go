//go:build plantedbug_noreason

package leader

const planted = "noreason"
