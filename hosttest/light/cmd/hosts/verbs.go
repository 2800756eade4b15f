package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"argosy.dev/argosy/hosttest/light"
)

// verb is what a person may say.
type verb struct {
	hosts int    // How many it names first.
	value string // What it takes after them, for help; empty for nothing.
	help  string
	do    func(b *light.Bed, h []*light.Host, value string) error
}

func verbs() map[string]verb {
	one := func(f func(*light.Host) error) func(*light.Bed, []*light.Host, string) error {
		return func(_ *light.Bed, h []*light.Host, _ string) error { return f(h[0]) }
	}
	return map[string]verb{
		"kill":   {1, "", "power loss: what was not synced is lost", one((*light.Host).Kill)},
		"on":     {1, "", "power again", one((*light.Host).On)},
		"reboot": {1, "", "kill and on", one((*light.Host).Reboot)},
		"freeze": {1, "", "every process stops", one((*light.Host).Freeze)},
		"thaw":   {1, "", "and goes on", one((*light.Host).Thaw)},
		"fill":   {1, "", "the disk is full", one((*light.Host).FillDisk)},
		"free":   {1, "", "it has room again", one((*light.Host).FreeDisk)},
		"ip": {1, "ADDRESS", "another address, in 10.0.0.0/8", func(_ *light.Bed, h []*light.Host, v string) error {
			return h[0].ChangeIP(v)
		}},
		"cut": {2, "", "no packets, both ways", func(b *light.Bed, h []*light.Host, _ string) error {
			return b.Cut(h[0], h[1])
		}},
		"oneway": {2, "", "no packets from the first to the second", func(b *light.Bed, h []*light.Host, _ string) error {
			return b.CutOneWay(h[0], h[1])
		}},
		"isolate": {1, "", "cut from all others", func(b *light.Bed, h []*light.Host, _ string) error {
			return b.Isolate(h[0])
		}},
		"loss": {2, "PERCENT", "packets lost at random, each way", func(b *light.Bed, h []*light.Host, v string) error {
			percent, err := strconv.ParseFloat(v, 64)
			if err != nil {
				return err
			}
			return b.Loss(h[0], h[1], percent)
		}},
		"delay": {2, "TIME", "packets later, each way: 50ms", func(b *light.Bed, h []*light.Host, v string) error {
			d, err := time.ParseDuration(v)
			if err != nil {
				return err
			}
			return b.Delay(h[0], h[1], d)
		}},
		"heal": {0, "", "the network is whole again", func(b *light.Bed, _ []*light.Host, _ string) error {
			return b.Heal()
		}},
		"up": {0, "N", "more hosts", func(b *light.Bed, _ []*light.Host, v string) error {
			n, err := strconv.Atoi(v)
			if err != nil {
				return err
			}
			_, err = b.Up(n)
			return err
		}},
	}
}

// order is how help lists the verbs.
const order = "kill on reboot freeze thaw cut oneway isolate loss delay heal ip fill free up"

// obey does what the lines say until ctx ends. The end of the input is not the end of the hosts.
func obey(ctx context.Context, b *light.Bed, in io.Reader, out io.Writer) error {
	lines := make(chan string)
	go func() {
		for s := bufio.NewScanner(in); s.Scan(); {
			select {
			case lines <- s.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case line := <-lines:
			say(out, b, strings.Fields(line))
		}
	}
}

func say(out io.Writer, b *light.Bed, words []string) {
	if len(words) == 0 {
		return
	}
	switch words[0] {
	case "help":
		help(out)
		return
	case "ls":
		for _, h := range b.Hosts() {
			fmt.Fprintln(out, h.Name, h.Address())
		}
		return
	}
	if err := carryOut(b, words); err != nil {
		fmt.Fprintln(out, err)
		return
	}
	fmt.Fprintln(out, "done")
}

func carryOut(b *light.Bed, words []string) error {
	v, ok := verbs()[words[0]]
	if !ok {
		return fmt.Errorf("there is no %q; help lists what there is", words[0])
	}
	want := v.hosts
	if v.value != "" {
		want++
	}
	if len(words)-1 != want {
		return fmt.Errorf("say: %s", usage(words[0], v))
	}
	var hosts []*light.Host
	for _, name := range words[1 : 1+v.hosts] {
		h := find(b, name)
		if h == nil {
			return fmt.Errorf("there is no host %q", name)
		}
		hosts = append(hosts, h)
	}
	return v.do(b, hosts, words[len(words)-1])
}

func find(b *light.Bed, name string) *light.Host {
	for _, h := range b.Hosts() {
		if h.Name == name {
			return h
		}
	}
	return nil
}

func usage(name string, v verb) string {
	return strings.TrimSpace(name + strings.Repeat(" HOST", v.hosts) + " " + v.value)
}

func help(out io.Writer) {
	all := verbs()
	for name := range strings.FieldsSeq(order) {
		fmt.Fprintf(out, "  %-24s %s\n", usage(name, all[name]), all[name].help)
	}
	fmt.Fprintf(out, "  %-24s %s\n", "ls", "the hosts and their addresses")
}
