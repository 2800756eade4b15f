package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/wire"
)

// versions is what is told for programs.
type versions struct {
	Client  string            `json:"client"`
	Go      string            `json:"go"`
	OS      string            `json:"os"`
	Arch    string            `json:"arch"`
	Cluster *wire.VersionInfo `json:"cluster,omitempty"`
}

func (a *app) versionCommand() *cobra.Command {
	client := false
	c := doc{
		use: "version [--client]", short: "The version of this program, and of the cluster when it answers",
		long:    `Tells the version of this program, and that of the machine that answers, when one does.`,
		example: "  argosy version\n  argosy version --client -o json", exits: []int{exitOK, exitUsage},
	}.command()
	c.Flags().BoolVar(&client, "client", false, "do not ask the cluster")
	c.Args = noArgs
	c.RunE = func(c *cobra.Command, _ []string) error {
		v := versions{Client: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
		var away error
		if !client {
			d, err := a.connect()
			if err == nil {
				info, versionErr := d.Version(c.Context())
				if versionErr == nil {
					v.Cluster = &info
				}
				err = versionErr
			}
			away = err
		}
		if !a.text() {
			return a.emit(v)
		}
		if err := a.print(fmt.Sprintf("argosy %s (%s %s/%s)", v.Client, v.Go, v.OS, v.Arch)); err != nil {
			return err
		}
		switch {
		case v.Cluster != nil:
			line := fmt.Sprintf("cluster %s on machine %s", v.Cluster.Version, cluster.ShortID(v.Cluster.Machine))
			if v.Cluster.Leader != "" {
				line += ", led by " + v.Cluster.Leader
			}
			return a.print(line)
		case away != nil && !a.quiet:
			a.note("cluster: %v", away)
		}
		return nil
	}
	return c
}
