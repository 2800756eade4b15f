//go:build plantedbug_epoch

package leader

const planted = "epoch"
