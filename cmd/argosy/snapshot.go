package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"argosy.dev/argosy/client"
	"argosy.dev/argosy/node"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store/etcd"
	"argosy.dev/argosy/wire"
)

func (a *app) snapshotCommand() *cobra.Command {
	return group("snapshot VERB", "Snapshots of the store: save, list, verify, restore", `
The leading server takes a snapshot every 15 minutes and before every change of the members, verifies it, and keeps
the last 48 in its DATA/snapshots. A snapshot holds all that the cluster knows, the certificate authority's keys
sealed: they are opened with the cluster's key, which lies on each server in DATA/identity/cluster.key and is not in
the snapshot. Keep a copy of both.`,
		a.snapshotSaveCommand(), a.snapshotLsCommand(), a.snapshotVerifyCommand(), a.snapshotRestoreCommand(), a.snapshotSettleCommand())
}

func (a *app) snapshotSaveCommand() *cobra.Command {
	c := doc{
		use: "save [FILE]", short: "Take a snapshot now and write it to a file here",
		long: `
Asks any server for all that the store holds, at one revision, writes it to FILE (default: argosy-TIME.db here), reads
it back and checks it. The file is there whole or not at all. It takes an admin.`,
		example: `
  argosy snapshot save
  argosy snapshot save /backup/argosy.db`,
		exits: []int{exitOK, exitFailed, exitUsage, exitUnreachable, exitNotAllowed},
	}.command()
	c.Args = cobra.MaximumNArgs(1)
	c.RunE = func(c *cobra.Command, args []string) error {
		file := "argosy-" + a.now().UTC().Format("20060102T150405Z") + ".db"
		if len(args) > 0 {
			file = args[0]
		}
		if !filepath.IsAbs(file) {
			file = filepath.Join(a.dir, file)
		}
		d, err := a.desk()
		if err != nil {
			return err
		}
		info, err := saveSnapshot(c.Context(), d, file)
		if err != nil {
			return err
		}
		return a.tellSnapshot(file, info)
	}
	return c
}

// saveSnapshot writes the file whole or not at all.
func saveSnapshot(ctx context.Context, d *client.Client, file string) (info etcd.SnapshotInfo, err error) {
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".")
	if err != nil {
		return info, err
	}
	err = d.SaveSnapshot(ctx, f)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		info, err = etcd.Verify(f.Name())
	}
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return info, errors.Join(err, os.Remove(f.Name()))
	}
	return info, nil
}

// told is a snapshot for programs.
type toldSnapshot struct {
	File     string `json:"file"`
	Revision int64  `json:"revision"`
	Keys     int    `json:"keys"`
	Size     int64  `json:"size"`
}

func (a *app) tellSnapshot(file string, info etcd.SnapshotInfo) error {
	if !a.text() {
		return a.emit(toldSnapshot{file, info.Revision, info.Keys, info.Size})
	}
	if a.quiet {
		return nil
	}
	return a.print(fmt.Sprintf("%s: whole, %d keys, revision %d, %s", file, info.Keys, info.Revision, reason.Bytes(info.Size)))
}

func (a *app) snapshotLsCommand() *cobra.Command {
	c := doc{
		use: "ls", short: "List the snapshots that the servers have", long: `Lists the snapshots on all servers, the newest first: age, size, where.`,
		example: `
  argosy snapshot ls`,
		exits: []int{exitOK, exitFailed, exitUnreachable, exitNotAllowed},
	}.command()
	c.Args = noArgs
	c.RunE = func(c *cobra.Command, _ []string) error {
		d, err := a.desk()
		if err != nil {
			return err
		}
		list, err := d.Snapshots(c.Context())
		if err != nil {
			return err
		}
		for _, m := range list.Away {
			a.note("warning: %s did not answer; what it has is not listed", m)
		}
		if !a.text() {
			return emitList(a, list, list.Snapshots)
		}
		var rows [][]string
		for _, s := range list.Snapshots {
			rows = append(rows, []string{
				s.At.Local().Format(time.DateTime), reason.Span(max(0, a.now().Sub(s.At).Milliseconds())), reason.Bytes(s.Size), s.Name, s.Path,
			})
		}
		return a.columns([]string{"TAKEN", "AGE", "SIZE", "MACHINE", "PATH"}, rows)
	}
	return c
}

func (a *app) snapshotVerifyCommand() *cobra.Command {
	c := doc{
		use: "verify FILE", short: "Check a snapshot's checksum and read it through, without a cluster",
		long: `Reads the whole file: its checksum, then every key. It needs no cluster.`,
		example: `
  argosy snapshot verify argosy-20261122T214600Z.db`,
		exits: []int{exitOK, exitFailed, exitUsage},
	}.command()
	c.Args = exactlyOne("a file")
	c.RunE = func(_ *cobra.Command, args []string) error {
		file := a.path(args[0])
		info, err := etcd.Verify(file)
		if err != nil {
			return err
		}
		return a.tellSnapshot(file, info)
	}
	return c
}

func (a *app) snapshotRestoreCommand() *cobra.Command {
	var r recoverWords
	c := doc{
		use: "restore FILE [--data=DIR] [--force] [--cluster-key=FILE]", short: "Found the cluster anew on this machine, from a snapshot",
		long: `
For a machine that does not run, when no server is left: it becomes the only one that holds the store, with what the
snapshot has. The machine was a server of the cluster, or --cluster-key names a copy of a server's
DATA/identity/cluster.key. A store that is there already is refused; --force sets it aside, and does not delete it.

Nothing that runs is stopped by a restore. Units that the snapshot does not know, or that it knows as stopped, go on
and are listed (argosy etcd status) until a person has settled it: argosy snapshot settle.`,
		example: `
  argosy snapshot restore /backup/argosy.db --data /var/lib/argosy
  argosy up --data /var/lib/argosy`,
		exits: []int{exitOK, exitFailed, exitUsage, exitGuard},
	}.command()
	r.flags(c)
	c.Flags().StringVar(&r.key, "cluster-key", "", "a copy of a server's DATA/identity/cluster.key, on a machine that was not a server")
	c.Args = exactlyOne("a snapshot")
	c.RunE = func(c *cobra.Command, args []string) error {
		r.from = args[0]
		data := a.path(r.data)
		if _, running := node.Running(c.Context(), data); running {
			return &exitError{code: exitGuard, err: fmt.Errorf("the machine of %s runs", data), hint: "stop it, and restore then; argosy recover --from FILE does it while it runs"}
		}
		return a.recoverOffline(c.Context(), r)
	}
	return c
}

func (a *app) snapshotSettleCommand() *cobra.Command {
	c := doc{
		use: "settle", short: "After a restore: stop what the restored store does not want",
		long: `
After a restore nothing is stopped that the snapshot does not know, for as long as it takes: argosy etcd status lists
it. Submit and start what is to stay. This ends that time: the units that are still unknown are stopped and forgotten.`,
		example: `
  argosy etcd status
  argosy snapshot settle`,
		exits: []int{exitOK, exitFailed, exitUnreachable, exitNotAllowed},
	}.command()
	c.Args = noArgs
	c.RunE = func(c *cobra.Command, _ []string) error {
		d, err := a.desk()
		if err != nil {
			return err
		}
		yes := true
		_, err = d.PatchSettings(c.Context(), wire.SettingsPatch{Settle: &yes})
		return err
	}
	return c
}
