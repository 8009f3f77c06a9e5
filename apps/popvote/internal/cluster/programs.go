//go:build unix

package cluster

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/template"

	"github.com/popvote/popvote/apps/popvote/internal/netns"
	"github.com/popvote/popvote/libs/mtls"
)

// binaries is where Debian keeps PostgreSQL's programs.
const binaries = "/usr/lib/postgresql/15/bin"

//go:embed config/*.tmpl
var configs embed.FS

var templates = template.Must(template.ParseFS(configs, "config/*.tmpl"))

// program is one that runs in every cloud.
type program struct {
	name, binary string
	config       string // the file's name; the template is it and .tmpl
	args         func(config string) []string
	postgres     bool // as PostgreSQL's user: it refuses root
}

// The programs of a cloud, in the order in which they are started. What stands by itself is the ground. Nomad comes on
// top once its cloud's Vault is open: a task that can't log in there is given up, and an edge's is then made nowhere else.
var (
	ground = []program{
		{name: "consul", binary: "consul", config: "consul.hcl", args: func(f string) []string { return []string{"agent", "-config-file=" + f} }},
		{name: "vault", binary: "vault", config: "vault.hcl", args: func(f string) []string { return []string{"server", "-config=" + f} }},
		{name: "patroni", binary: "patroni", config: "patroni.yml", args: func(f string) []string { return []string{f} }, postgres: true},
	}
	top = []program{
		{name: "nomad", binary: "nomad", config: "nomad.hcl", args: func(f string) []string { return []string{"agent", "-config=" + f} }},
	}
	programs = append(slices.Clone(ground), top...)
)

func (c *Cluster) dir(cloud netns.Cloud) string { return filepath.Join(c.Dir, cloud.Name) }

// running is whether a cloud's program is there. Its number may be another's by now, but hardly in the
// same cloud.
func (c *Cluster) running(cloud netns.Cloud, name string) bool {
	text, err := os.ReadFile(filepath.Join(c.dir(cloud), name+".pid"))
	if err != nil {
		return false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	return err == nil && cloud.Has(pid)
}

// launch writes a program's configuration and starts it; it lives on without us.
func (c *Cluster) launch(cloud netns.Cloud, p program) error {
	dir := c.dir(cloud)
	binary, err := c.find(p.binary)
	if err != nil {
		return err
	}
	for _, below := range []string{"", "consul", "vault", "nomad", "postgres"} {
		if err := os.MkdirAll(filepath.Join(dir, below), 0o711); err != nil { //nolint:gosec // PostgreSQL passes through
			return fmt.Errorf("couldn't make a directory for %s: %w", p.name, err)
		}
	}
	config := filepath.Join(dir, p.config)
	if err := c.configure(cloud, p, config); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(dir, p.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("couldn't open the log of %s: %w", p.name, err)
	}
	defer func() { _ = log.Close() }()

	line := append([]string{binary}, p.args(config)...)
	if p.postgres {
		u, err := postgresUser()
		if err != nil {
			return err
		}
		data := filepath.Join(dir, "postgres")
		theirs := []string{config, data}
		for _, name := range []string{mtls.CertFile, mtls.KeyFile} {
			to := filepath.Join(data, name)
			if err := replace(filepath.Join(c.certificates(), Database, name), to, 0o600); err != nil {
				return fmt.Errorf("couldn't give PostgreSQL its certificate: %w", err)
			}
			theirs = append(theirs, to)
		}
		for _, path := range theirs {
			if err := os.Chown(path, u.uid, u.gid); err != nil {
				return fmt.Errorf("couldn't give %s to PostgreSQL's user: %w", path, err)
			}
		}
		if err := os.Chmod(data, 0o700); err != nil { //nolint:gosec // a directory
			return fmt.Errorf("couldn't close %s to others: %w", data, err)
		}
		line = append([]string{"setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"}, line...)
	}
	cmd := cloud.Command(line[0], line[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	// What is in our environment is none of theirs, and nobody is told that they run.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "HOME=" + dir, "NO_PROXY=*", "no_proxy=*", "CHECKPOINT_DISABLE=1"}
	if !p.postgres {
		// Where they leave sockets that a kill leaves behind.
		cmd.Env = append(cmd.Env, "TMPDIR="+dir)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cloud.Start(cmd); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // no zombies, while we live
	number := strconv.Itoa(cmd.Process.Pid)
	if err := os.WriteFile(filepath.Join(dir, p.name+".pid"), []byte(number), 0o600); err != nil {
		return fmt.Errorf("couldn't note the process of %s: %w", p.name, err)
	}
	return nil
}

// configure writes a program's configuration.
func (c *Cluster) configure(cloud netns.Cloud, p program, path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("couldn't configure %s: %w", p.name, err)
	}
	var others []netns.Cloud
	for _, o := range c.Network.All() {
		if o != cloud {
			others = append(others, o)
		}
	}
	err = templates.ExecuteTemplate(f, p.config+".tmpl", map[string]any{
		"Cloud": cloud, "All": c.Network.All(), "Others": others, "Dir": c.dir(cloud), "Prefix": c.Network.Prefix,
		"Secrets": c.secrets, "PostgreSQL": binaries, "Authority": c.authority(), "Certificates": c.certificates(),
	})
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("couldn't configure %s: %w", p.name, err)
	}
	return nil
}

type account struct{ uid, gid int }

func postgresUser() (a account, err error) {
	u, err := user.Lookup("postgres")
	if err != nil {
		return a, fmt.Errorf("couldn't find the user that PostgreSQL runs as: %w", err)
	}
	uid, uidErr := strconv.Atoi(u.Uid)
	gid, gidErr := strconv.Atoi(u.Gid)
	return account{uid, gid}, errors.Join(uidErr, gidErr)
}

// removeGroups removes the control groups that Nomad makes and leaves, whatever cgroup_parent says;
// unless another Nomad runs on this machine, whose they may be. One that somebody is in stays.
func removeGroups() error {
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return err
	}
	for _, name := range names {
		comm, err := os.ReadFile(name)
		if err != nil || !strings.HasPrefix(string(comm), "nomad") {
			continue
		}
		// A zombie, as those that were just killed may be, has no program.
		if _, err := os.Readlink(filepath.Join(filepath.Dir(name), "exe")); err == nil {
			return nil
		}
	}
	var failed error
	for _, pattern := range []string{
		"nomad.slice/*.slice/*.scope", "nomad.slice/*.slice", "nomad.slice", "*/nomad/*/*", "*/nomad/*", "*/nomad",
	} {
		groups, err := filepath.Glob("/sys/fs/cgroup/" + pattern)
		failed = errors.Join(failed, err)
		for _, group := range groups {
			info, err := os.Stat(group)
			if err != nil || !info.IsDir() {
				continue
			}
			if err := os.Remove(group); err != nil && !errors.Is(err, syscall.EBUSY) && !errors.Is(err, fs.ErrNotExist) {
				failed = errors.Join(failed, fmt.Errorf("couldn't remove Nomad's control group: %w", err))
			}
		}
	}
	return failed
}
