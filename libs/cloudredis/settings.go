package cloudredis

import (
	"crypto/tls"
	"fmt"
	"os"
	"strings"

	"github.com/popvote/popvote/libs/discovery"
)

// Settings are the part of a program's configuration that says how it reaches its cloud's Redis.
type Settings struct {
	Address      string `koanf:"address" doc:"The Redis of this cloud, host:port, which all its api-servers share: it keeps who has texted, codes and limits. Required, unless Consul knows it. It may lose all it has at any time: that costs voters another SMS."`
	PasswordFile string `koanf:"password-file" doc:"A file with the password of Redis, of mode 0600. Default: it wants none."`
	TLS          bool   `koanf:"tls" doc:"Speak TLS with Redis, both sides with certificates: ours, and one of the same authority that names the service redis. Without it, whoever is on the way reads and changes what voters are told."`
}

// EverySettings are the same for a program that writes to the Redis of every cloud.
type EverySettings struct {
	Addresses    []string `koanf:"addresses" doc:"The Redis of every cloud, host:port, separated by commas. Required, unless Consul knows them. What a voter texted goes to each; one that is away gets it when it is back, and keeps no other waiting."`
	PasswordFile string   `koanf:"password-file" doc:"A file with the password of them all, of mode 0600. Default: they want none."`
	TLS          bool     `koanf:"tls" doc:"Speak TLS with them, both sides with certificates: ours, and one of the same authority that names the service redis. Without it, whoever is on the way reads and changes what voters are told."`
}

// Certificates make the TLS side of connections to a service, as package mtls does.
type Certificates interface {
	Client(service string) *tls.Config
}

// Addresses is where that Redis is said to be: at one address, or nowhere.
func (s Settings) Addresses() []string {
	if s.Address == "" {
		return nil
	}
	return []string{s.Address}
}

// Link returns the way to that Redis, which a finder of Service finds by its address, or in its cloud.
// Certificates are used if TLS is wanted. Close it.
func (s Settings) Link(finder discovery.Finder, cloud string, certificates Certificates) (*Link, error) {
	access, err := s.Access(certificates)
	if err != nil {
		return nil, err
	}
	return NewLink(Config{Access: access, Finder: finder, Cloud: cloud}), nil
}

// LinkAnywhere returns a Link that leads elsewhere while that cloud has none: for what is in all of them. Close
// it.
func (s Settings) LinkAnywhere(finder discovery.Finder, cloud string, certificates Certificates) (*Link, error) {
	access, err := s.Access(certificates)
	if err != nil {
		return nil, err
	}
	return NewLink(Config{Access: access, Finder: finder, Cloud: cloud, Elsewhere: true}), nil
}

// Access is how to get in to that Redis, and to the other clouds' that Consul knows.
func (s Settings) Access(certificates Certificates) (Access, error) {
	return access(s.PasswordFile, s.TLS, certificates)
}

// Access is how to get in to each of them.
func (s EverySettings) Access(certificates Certificates) (Access, error) {
	return access(s.PasswordFile, s.TLS, certificates)
}

func access(passwordFile string, tls bool, certificates Certificates) (a Access, err error) {
	if a.Password, err = readPassword(passwordFile); err != nil {
		return a, err
	}
	if tls {
		a.TLS = certificates.Client(Service)
	}
	return a, nil
}

func readPassword(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("couldn't find the password of Redis: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return "", fmt.Errorf("couldn't trust %s: its mode is %04o, so others may know it; want 0600", path, mode)
	}
	content, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return "", fmt.Errorf("couldn't read the password of Redis: %w", err)
	}
	password := strings.TrimRight(string(content), "\r\n")
	if password == "" {
		return "", fmt.Errorf("couldn't read the password of Redis: %s is empty", path)
	}
	return password, nil
}
