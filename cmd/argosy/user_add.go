package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"argosy.dev/argosy/client"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/identity"
	"argosy.dev/argosy/wire"
)

func (a *app) userAddCommand() *cobra.Command {
	var role, out, key, name string
	c := doc{
		use: "add NAME --role=viewer|deployer|operator|admin [--out=FILE] [--key=PUBLICKEY]", short: "Let a person in, and make the file that the person takes along",
		long: `
Makes a user, with a private key and a certificate of 30 days, and writes a context: one file with all that the
person's laptop needs, the private key included. Hand it over by a safe way; argosy context add FILE keeps it there.
With --key the certificate is made for a public key of the person's (argosy user key): then nothing in the file is
secret.

For a user who is there already it sets the role and makes another context; those of before stay good.
Nothing is overwritten: a FILE that is there is a mistake.`,
		example: `
  argosy user add ada --role deployer
  argosy user add ada --role admin --out /media/stick/ada.context
  argosy user add ada --role viewer --key ada.pub`,
		exits: []int{exitOK, exitFailed, exitUsage, exitUnreachable, exitNotAllowed},
	}.command()
	f := c.Flags()
	f.StringVar(&role, "role", "", "what the user may: viewer, deployer, operator or admin")
	f.StringVar(&out, "out", "", "the file to write (default NAME.context; - is standard output)")
	f.StringVar(&key, "key", "", "a file with the public key that the certificate is for")
	f.StringVar(&name, "name", "", "what the context is called (default: as the cluster calls itself)")
	_ = c.RegisterFlagCompletionFunc("role", cobra.FixedCompletions([]string{"viewer", "deployer", "operator", "admin"}, cobra.ShellCompDirectiveNoFileComp))
	c.Args = exactlyOne("a name for the user")
	c.RunE = func(c *cobra.Command, args []string) error {
		if role == "" {
			return usagef("viewer, deployer, operator and admin are", "user add needs --role")
		}
		if out == "" {
			out = args[0] + ".context"
		}
		private, public, err := a.userKeys(key)
		if err != nil {
			return err
		}
		w, err := a.output0600(out)
		if err != nil {
			return err
		}
		if err := w.done(a.addUser(c, wire.UserRequest{Name: args[0], Role: cluster.Role(role), PublicKey: public}, name, private, w)); err != nil {
			return err
		}
		if out != "-" {
			a.note("%s may what a %s may; take the file along, it is as good as a password: argosy context add %s", args[0], role, out)
			return a.print(out)
		}
		return nil
	}
	return c
}

func (a *app) addUser(c *cobra.Command, q wire.UserRequest, name string, private []byte, w io.Writer) error {
	d, err := a.desk()
	if err != nil {
		return err
	}
	got, err := d.AddUser(c.Context(), q)
	if err != nil {
		return err
	}
	if got.Credentials == nil {
		return errors.New("the cluster sent no certificate")
	}
	if name == "" {
		name = got.Credentials.Cluster
	}
	x := client.NewContext(name, q.Name, private, got.Credentials)
	text, err := x.Encode()
	if err == nil {
		_, err = w.Write(text)
	}
	return err
}

// userKeys gives a new key pair, or a public key from a file and no private one.
func (a *app) userKeys(file string) (private, public []byte, err error) {
	if file != "" {
		text, err := a.readInput(file)
		if err != nil {
			return nil, nil, err
		}
		if public, err = identity.ParsePublicPEM(text); err != nil {
			return nil, nil, usagef("argosy user key makes a pair that fits", "%s: %v", file, err)
		}
		return nil, public, nil
	}
	k, err := identity.NewKey()
	if err != nil {
		return nil, nil, err
	}
	if public, err = x509.MarshalPKIXPublicKey(&k.PublicKey); err != nil {
		return nil, nil, err
	}
	private, err = identity.KeyPEM(k)
	return private, public, err
}

func (a *app) userKeyCommand() *cobra.Command {
	out := ""
	c := doc{
		use: "key --out=FILE", short: "Make a key pair that stays here, and print the public half",
		long: `
Writes the private key to FILE, for you alone, and the public key to standard output. Send that to an admin of the
cluster: argosy user add NAME --role ROLE --key PUBLICKEY makes a context for it.`,
		example: `
  argosy user key --out ada.key > ada.pub`,
		exits: []int{exitOK, exitFailed, exitUsage},
	}.command()
	c.Flags().StringVar(&out, "out", "", "the file for the private key")
	c.Args = noArgs
	c.RunE = func(*cobra.Command, []string) error {
		if out == "" || out == "-" {
			return usagef("argosy user key --out ada.key > ada.pub", "user key needs --out FILE: the private key is not printed")
		}
		k, err := identity.NewKey()
		if err != nil {
			return err
		}
		private, err := identity.KeyPEM(k)
		if err != nil {
			return err
		}
		public, err := identity.PublicPEM(&k.PublicKey)
		if err != nil {
			return err
		}
		w, err := a.output0600(out)
		if err != nil {
			return err
		}
		_, err = w.Write(private)
		if err := w.done(err); err != nil {
			return err
		}
		_, err = a.stdout.Write(public)
		return written(0, err)
	}
	return c
}

// private is a new file that only its owner may read, or standard output.
type private struct {
	io.Writer
	file *os.File
}

// output0600 opens it before anything is done: a file that is there already is found out in time.
func (a *app) output0600(path string) (*private, error) {
	if path == "-" {
		return &private{Writer: a.stdout}, nil
	}
	f, err := os.OpenFile(a.path(path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, usagef("choose another --out, or remove it", "%s is there already", path)
	}
	if err != nil {
		return nil, err
	}
	return &private{f, f}, nil
}

// done closes the file; after an error it is taken away again.
func (p *private) done(err error) error {
	if p.file == nil {
		return err
	}
	if err == nil {
		err = p.file.Sync()
	}
	err = errors.Join(err, p.file.Close())
	if err != nil {
		return errors.Join(err, os.Remove(p.file.Name()))
	}
	return nil
}

func readBounded(name string, r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	if err == nil && len(b) > maxInput {
		err = fmt.Errorf("%s is larger than the %d bytes that are read", name, maxInput)
	}
	return b, err
}
