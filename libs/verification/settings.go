package verification

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// RedisSettings are the part of a program's configuration that says which Redis to use.
type RedisSettings struct {
	Address      string `koanf:"address" doc:"The Redis that keeps verification state, host:port; required. The same for sms-gateway and every api-server of one site. It may lose all it has at any time: that costs voters another SMS."`
	PasswordFile string `koanf:"password-file" doc:"A file with the password of Redis, of mode 0600. Default: it wants none."`
}

// Open returns a board on that Redis, which need not be there yet. Close it.
func (s RedisSettings) Open(deps RedisDeps) (*Redis, error) {
	if s.Address == "" {
		return nil, errors.New("redis.address is missing")
	}
	password, err := readPassword(s.PasswordFile)
	if err != nil {
		return nil, err
	}
	return NewRedis(RedisConfig{Address: s.Address, Password: password}, deps)
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
