//go:build plantedbug_forgetorders

package agent

const planted = "forgetorders"
