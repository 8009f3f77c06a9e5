package verification

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/redis/go-redis/v9"
)

// RedisSettings are the part of a program's configuration that says which Redis to use.
type RedisSettings struct {
	Address      string `koanf:"address" doc:"The Redis that keeps verification state, host:port; required. The same for every api-server of one cloud, and among those that sms-gateway writes to. It may lose all it has at any time: that costs voters another SMS."`
	PasswordFile string `koanf:"password-file" doc:"A file with the password of Redis, of mode 0600. Default: it wants none."`
	TLS          bool   `koanf:"tls" doc:"Speak TLS with Redis, both sides with certificates: ours of -tls, and one of the same CA that names the service redis. Without it, whoever is on the way reads and changes what voters are told."`
}

// EveryRedisSettings are the same for a program that writes to the Redis of every cloud.
type EveryRedisSettings struct {
	Addresses    []string `koanf:"address" doc:"The Redis of every cloud, host:port, separated by commas; at least one is required. What a voter texted goes to each; one that is away gets it when it is back, and keeps no other waiting."`
	PasswordFile string   `koanf:"password-file" doc:"A file with the password of them all, of mode 0600. Default: they want none."`
	TLS          bool     `koanf:"tls" doc:"Speak TLS with them, both sides with certificates: ours of -tls, and one of the same CA that names the service redis. Without it, whoever is on the way reads and changes what voters are told."`
}

// RedisService is the name in the certificate of a Redis.
const RedisService = "redis"

// Options are how to reach that Redis; certificates is used if TLS is wanted.
func (s RedisSettings) Options(certificates Certificates) (*redis.Options, error) {
	if s.Address == "" {
		return nil, errors.New("redis.address is missing")
	}
	if _, _, err := net.SplitHostPort(s.Address); err != nil {
		return nil, fmt.Errorf("couldn't read the address of Redis: %q is not host:port", s.Address)
	}
	password, err := readPassword(s.PasswordFile)
	if err != nil {
		return nil, err
	}
	options := &redis.Options{Addr: s.Address, Password: password}
	if s.TLS {
		options.TLSConfig = certificates.Client(RedisService)
	}
	return options, nil
}

// Certificates make the TLS side of connections to a service, as package mtls does.
type Certificates interface {
	Client(service string) *tls.Config
}

// Open returns a board on that Redis, which need not be there yet. Close it.
func (s RedisSettings) Open(certificates Certificates, deps RedisDeps) (*Redis, error) {
	options, err := s.Options(certificates)
	if err != nil {
		return nil, err
	}
	return NewRedis(RedisConfig{Address: options.Addr, Password: options.Password, TLS: options.TLSConfig}, deps)
}

// Open returns what writes to each of them; none need be there yet. Close it.
func (s EveryRedisSettings) Open(certificates Certificates, deps RedisDeps) (*Everywhere, error) {
	var boards []RedisConfig
	for _, address := range s.Addresses {
		options, err := RedisSettings{Address: address, PasswordFile: s.PasswordFile, TLS: s.TLS}.Options(certificates)
		if err != nil {
			return nil, err
		}
		boards = append(boards, RedisConfig{Address: options.Addr, Password: options.Password, TLS: options.TLSConfig})
	}
	return NewEverywhere(boards, deps)
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
