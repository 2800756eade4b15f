package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"argosy.dev/argosy/cmd/argosy/internal/show"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
	"argosy.dev/argosy/wire"
)

// verified is one file for programs.
type verified struct {
	File     string         `json:"file"`
	Name     string         `json:"name"`
	OK       bool           `json:"ok"`
	Faults   []wire.Fault   `json:"faults,omitempty"`
	Warnings []unit.Warning `json:"warnings,omitempty"`
	Demand   *unit.Demand   `json:"demand,omitempty"`
	Machine  string         `json:"machine,omitempty"` // Where it would run.
	Room     *wire.Fault    `json:"room,omitempty"`    // Why nowhere.
	Planned  bool           `json:"planned"`           // The cluster was asked.

	local *local
}

func (a *app) verifyCommand() *cobra.Command {
	offline := false
	c := doc{
		use: "verify FILE... [--offline]", short: "Check unit files, and whether the cluster has room for them",
		long: `
Reads unit files as the cluster will: every fault with its line, and a warning for each directive that is not known or
not honoured. When a cluster can be reached, it also says on which machine each unit would run, or why on none; nothing
is changed. A directory means the unit files in it.`,
		example: `
  argosy verify web.service
  argosy verify ./units/
  argosy verify --offline *.service -o json`,
		exits: []int{exitOK, exitUsage, exitInvalid, exitNoRoom},
	}.command()
	c.Flags().BoolVar(&offline, "offline", false, "do not ask the cluster")
	c.Args = atLeastOne("a file")
	c.RunE = func(c *cobra.Command, args []string) error {
		files, err := a.filesToVerify(args)
		if err != nil {
			return err
		}
		if !offline {
			a.planFiles(c.Context(), files)
		}
		if a.text() {
			err = a.printAll(a.verifyLines(files))
		} else {
			err = emitList(a, files, files)
		}
		if err != nil {
			return err
		}
		code := exitOK
		for _, f := range files {
			switch {
			case !f.OK:
				code = exitInvalid
			case f.Room != nil && code == exitOK:
				code = exitNoRoom
			}
		}
		return exitWith(code)
	}
	return c
}

// filesToVerify reads and checks what the arguments name; a directory means the unit files in it.
func (a *app) filesToVerify(args []string) ([]*verified, error) {
	var out []*verified
	for _, arg := range args {
		path := arg
		if !filepath.IsAbs(path) {
			path = filepath.Join(a.dir, path)
		}
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, &exitError{code: exitInvalid, err: fmt.Errorf("%s: no such file", arg)}
		case err != nil:
			return nil, &exitError{code: exitInvalid, err: err}
		case !info.IsDir():
			out = append(out, a.verifyFile(arg))
			continue
		}
		entries, err := os.ReadDir(path)
		if err != nil {
			return nil, &exitError{code: exitInvalid, err: err}
		}
		for _, e := range entries {
			if !e.IsDir() && knownSuffix(e.Name()) {
				out = append(out, a.verifyFile(filepath.Join(arg, e.Name())))
			}
		}
	}
	if len(out) == 0 {
		return nil, usagef("", "there is no unit file in %s", strings.Join(args, " "))
	}
	return out, nil
}

func (a *app) verifyFile(arg string) *verified {
	v := &verified{File: arg}
	name, err := unit.Mangle(arg)
	if err == nil {
		v.Name = string(name)
		v.local, err = a.findLocal(arg, v.Name)
	}
	if err == nil && v.local == nil {
		err = reason.Because(reason.NameInvalid, reason.Args{"unit": filepath.Base(arg), "error": "it has no suffix of a unit"})
	}
	if err != nil {
		v.faults(err)
		return v
	}
	if err = v.local.check(v.Name); err != nil {
		v.faults(err)
		return v
	}
	v.OK = true
	u, err := v.local.load(v.Name)
	if err == nil {
		v.Warnings = u.Warnings
		demand := u.Demand()
		v.Demand = &demand
	}
	return v
}

func (v *verified) faults(err error) {
	reasons := reasonsOf(err)
	if len(reasons) == 0 {
		reasons = []*reason.Reason{reason.Because(reason.UnitInvalid, reason.Args{"file": v.File, "line": 0, "error": err.Error()})}
	}
	for _, r := range reasons {
		v.Faults = append(v.Faults, *wire.NewFault(r))
	}
}

// planFiles asks the cluster where the good ones would run. A cluster that cannot be reached is told, and no fault of the files.
func (a *app) planFiles(ctx context.Context, files []*verified) {
	var req wire.VerifyRequest
	byName := map[string]*verified{}
	for _, f := range files {
		if f.OK {
			req.Units = append(req.Units, wire.VerifyUnit{Name: f.Name, Text: f.local.text, DropIns: f.local.dropins})
			byName[f.Name] = f
		}
	}
	if len(req.Units) == 0 {
		return
	}
	d, err := a.connect()
	var resp wire.VerifyResponse
	if err == nil {
		resp, err = d.Verify(ctx, req)
	}
	if err != nil {
		if !a.quiet {
			a.note("%s room was not checked: %s", a.errStyle().Paint(show.Faint, "note:"), show.Clean(err.Error()))
		}
		return
	}
	for _, u := range resp.Units {
		f := byName[u.Name]
		if f == nil {
			continue
		}
		f.Planned, f.Machine, f.Room = true, u.Machine, u.Room
		f.Faults = append(f.Faults, u.Faults...)
		f.OK = len(f.Faults) == 0
	}
}

func (a *app) verifyLines(files []*verified) []string {
	s := a.outStyle()
	width := a.width(a.stdout)
	var out []string
	for _, f := range files {
		for _, w := range f.Warnings {
			w.File = f.File
			out = append(out, show.Wrap(s.Paint(show.Busy, "warning:")+" "+warningText(w), width, "    ")...)
		}
		for _, fault := range f.Faults {
			out = append(out, show.Wrap(s.Paint(show.Bad, "error:")+" "+show.Clean(fault.Message), width, "    ")...)
		}
		out = append(out, show.Wrap(verdictLine(s, f), width, "    ")...)
		if f.Room != nil && f.Room.Hint != "" {
			out = append(out, "    "+s.Arrow()+" "+show.Clean(f.Room.Hint))
		}
	}
	return out
}

func verdictLine(s show.Style, f *verified) string {
	file := show.Clean(f.File)
	ask := ""
	if f.Demand != nil {
		ask = fmt.Sprintf(", asks %s memory and %s cpu", reason.Bytes(f.Demand.Request.Memory), reason.CPU(f.Demand.Request.CPU))
	}
	switch {
	case !f.OK:
		return s.Paint(show.Bad, s.Cross()+" "+file) + " is invalid: " + plural(len(f.Faults), "fault")
	case f.Room != nil:
		return s.Paint(show.Bad, s.Cross()+" "+file) + " is valid, but would run nowhere: " + show.Clean(f.Room.Message)
	case f.Planned && f.Machine != "":
		return s.Paint(show.Good, s.Tick()+" "+file) + " is valid" + ask + ", would run on " + show.Clean(f.Machine)
	}
	return s.Paint(show.Good, s.Tick()+" "+file) + " is valid" + ask
}
