package vault

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Credentials are a database's, made by Vault for this program, for a while. At half of their time, and
// when the program has logged in anew (they end with the token that asked), others take their place; the old
// ones work on until their end. Safe for concurrent use.
type Credentials struct {
	client *Client
	path   string
	log    *slog.Logger

	refused chan string // holds the name that the database has refused

	mu      sync.Mutex // guards what follows
	now     lease
	session *Session // that now was leased in
	err     error    // of the last try; now is then of an earlier one
}

type lease struct {
	user, password string
	life           time.Duration
}

// OpenCredentials gets the first credentials, of database/creds/ROLE. Run replaces them.
func OpenCredentials(ctx context.Context, client *Client, role string, log *slog.Logger) (*Credentials, error) {
	c := &Credentials{client: client, path: "database/creds/" + role, log: log, refused: make(chan string, 1)}
	if err := c.get(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// Get returns the present credentials. It asks nobody.
func (c *Credentials) Get(context.Context) (user, password string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now.user, c.now.password, nil
}

// Refused tells that the database refuses a user. If it is the present one, another is got, soon.
func (c *Credentials) Refused(user string) {
	select {
	case c.refused <- user:
	default:
	}
}

// Err says why the last try to get credentials failed; nil while all is well.
func (c *Credentials) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Run replaces the credentials in time, until the context ends.
func (c *Credentials) Run(ctx context.Context) {
	pause := again
	for {
		c.mu.Lock()
		now, session := c.now, c.session
		c.mu.Unlock()
		half := time.NewTimer(Jittered(now.life / 2))
		select {
		case <-ctx.Done():
		case <-half.C:
		case <-session.Ended():
		case user := <-c.refused:
			if user != now.user {
				half.Stop()
				continue
			}
		}
		half.Stop()
		for ctx.Err() == nil {
			err := c.get(ctx)
			if err == nil {
				pause = again
				break
			}
			c.log.LogAttrs(ctx, slog.LevelWarn, "couldn't get new credentials for the database; the old ones stay in use", slog.Any("error", err))
			if !sleep(ctx, Jittered(pause)) {
				return
			}
			pause = min(2*pause, atMost)
		}
		if ctx.Err() != nil {
			return
		}
		select {
		case <-c.refused: // the one before
		default:
		}
	}
}

func (c *Credentials) get(ctx context.Context) error {
	session := c.client.Session()
	var answer struct {
		Life int64 `json:"lease_duration"`
		Data struct {
			User     string `json:"username"`
			Password string `json:"password"`
		} `json:"data"`
	}
	err := c.client.Read(ctx, c.path, &answer)
	if err == nil && (answer.Data.User == "" || answer.Life <= 0) {
		err = errors.New("vault gave no credentials")
	}
	if err != nil {
		err = fmt.Errorf("couldn't get credentials for the database: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
	if err == nil {
		// A log-in in between is noticed as one after.
		c.now, c.session = lease{answer.Data.User, answer.Data.Password, time.Duration(answer.Life) * time.Second}, session
	}
	return err
}
