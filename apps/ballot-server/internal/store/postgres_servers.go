package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	// connectingOne is how long each of several servers may take to be connected to. A frozen one takes it
	// all, and the one that is to replace it is not found before.
	connectingOne = 2 * time.Second
	// grace is how long the others have to answer once one server would do: theirs may be newer.
	grace = 500 * time.Millisecond
	// doubt is how long anything may take before its server is compared with the others, and how long until
	// they are compared again.
	doubt = time.Second
)

// servers are those that a DSN names: a primary, and standbys that may take its place. As a
// driver.Connector it asks all of them at once and takes the one that passes the check.
//
// A primary that was frozen or cut off while it was replaced comes back and still says that it takes
// writes. It can't complete one, having no standby any more, but what it shows is out of date. Servers are
// therefore told apart by their timeline, which every promotion raises: the newest is taken, and once
// a newer one was seen, connections to older ones are cut.
type servers struct {
	hosts []driver.Connector // one each
	names string
	log   *slog.Logger // may be nil
	as    Credentials  // may be nil

	mu       sync.Mutex // guards what follows
	timeline int64      // the newest that was seen
	open     map[*pgconn.PgConn]int64
}

// newServers reads a DSN. Whatever connects to a server must pass check, which returns its timeline.
func newServers(dsn string, log *slog.Logger, notice pgconn.NoticeHandler, check func(context.Context, *pgx.Conn) (int64, error)) (*servers, error) {
	config, err := parseDSN(dsn)
	if err != nil {
		return nil, err
	}
	config.OnNotice = notice
	s := &servers{log: log, open: map[*pgconn.PgConn]int64{}}
	var names []string
	for _, host := range perHost(config) {
		names = append(names, net.JoinHostPort(host.Host, strconv.Itoa(int(host.Port))))
		s.hosts = append(s.hosts, stdlib.GetConnector(*host,
			stdlib.OptionBeforeConnect(func(ctx context.Context, c *pgx.ConnConfig) (err error) {
				if s.as != nil {
					c.User, c.Password, err = s.as.Get(ctx)
				}
				return err
			}),
			stdlib.OptionAfterConnect(func(ctx context.Context, c *pgx.Conn) error {
				ctx, cancel := context.WithTimeout(ctx, host.ConnectTimeout)
				defer cancel()
				timeline, err := check(ctx, c)
				if err != nil {
					_ = c.Close(ctx) // it is of no use
					return fmt.Errorf("%s: %w", host.Host, err)
				}
				c.PgConn().CustomData()[timelineKey] = timeline
				return nil
			}),
			stdlib.OptionResetSession(func(_ context.Context, c *pgx.Conn) error {
				if s.outdated(timelineOf(c.PgConn())) {
					return driver.ErrBadConn
				}
				return nil
			})))
	}
	s.names = strings.Join(names, ", ")
	return s, nil
}

// perHost makes a configuration for each server of one that names several. A server may be there more
// than once: with TLS, and without.
func perHost(config *pgx.ConnConfig) []*pgx.ConnConfig {
	all := append([]*pgconn.FallbackConfig{{Host: config.Host, Port: config.Port, TLSConfig: config.TLSConfig}}, config.Fallbacks...)
	var out []*pgx.ConnConfig
	for _, f := range all {
		i := slices.IndexFunc(out, func(c *pgx.ConnConfig) bool { return c.Host == f.Host && c.Port == f.Port })
		if i >= 0 {
			out[i].Fallbacks = append(out[i].Fallbacks, f)
			continue
		}
		c := config.Copy()
		c.Host, c.Port, c.TLSConfig, c.Fallbacks = f.Host, f.Port, f.TLSConfig, nil
		out = append(out, c)
	}
	if len(out) > 1 {
		for _, c := range out {
			c.ConnectTimeout = connectingOne
		}
	}
	return out
}

const timelineKey = "timeline"

func timelineOf(c *pgconn.PgConn) int64 {
	timeline, _ := c.CustomData()[timelineKey].(int64)
	return timeline
}

// Driver implements driver.Connector.
func (s *servers) Driver() driver.Driver { return s.hosts[0].Driver() }

// Connect implements driver.Connector.
func (s *servers) Connect(ctx context.Context) (driver.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		conn driver.Conn
		err  error
	}
	answers := make(chan answer, len(s.hosts))
	for _, host := range s.hosts {
		go func() {
			conn, err := host.Connect(ctx)
			s.refused(err)
			answers <- answer{conn, err}
		}()
	}
	var best *stdlib.Conn
	var errs []error
	var late <-chan time.Time
	for left := len(s.hosts); left > 0; left-- {
		select {
		case a := <-answers:
			switch conn, _ := a.conn.(*stdlib.Conn); {
			case a.err != nil:
				errs = append(errs, a.err)
			case best == nil && s.newest(timelineOf(conn.Conn().PgConn())):
				best, late = conn, time.After(0)
			case best == nil:
				best, late = conn, time.After(grace)
			case timelineOf(conn.Conn().PgConn()) > timelineOf(best.Conn().PgConn()):
				drop(best)
				best = conn
			default:
				drop(conn)
			}
			continue
		case <-late:
		}
		go func() { // what still comes, comes too late
			for range left {
				if a := <-answers; a.err == nil {
					drop(a.conn)
				}
			}
		}()
		break
	}
	if best == nil {
		return nil, errors.Join(errs...)
	}
	if err := s.take(best.Conn().PgConn()); err != nil {
		drop(best)
		return nil, err
	}
	return best, nil
}

// refused tells whoever keeps the credentials that a server does not take them (SQLSTATE class 28).
func (s *servers) refused(err error) {
	why, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || s.as == nil || !strings.HasPrefix(why.Code, "28") {
		return
	}
	if failed, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		s.as.Refused(failed.Config.User)
	}
}

// drop closes a connection that nobody uses, without waiting for a server that may have frozen.
func drop(c driver.Conn) { go func() { _ = c.Close() }() }

// take notes a connection, and cuts those to older servers. An older one itself is refused.
func (s *servers) take(c *pgconn.PgConn) error {
	timeline := timelineOf(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	if timeline < s.timeline {
		return fmt.Errorf("the database's timeline is %d, after %d: this server was the primary before another replaced it", timeline, s.timeline)
	}
	if s.timeline != 0 && timeline > s.timeline && s.log != nil {
		s.log.LogAttrs(context.Background(), slog.LevelWarn, "another database server is the primary now",
			slog.String("address", c.Conn().RemoteAddr().String()), slog.Int64("timeline", timeline))
	}
	s.timeline = timeline
	for other, its := range s.open {
		if its < timeline {
			_ = other.Conn().Close() // whoever waits for an answer learns that there is none
		}
	}
	s.open[c] = timeline
	go func() {
		<-c.CleanupDone()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.open, c)
	}()
	return nil
}

// newest tells a timeline that is newer than one that was seen.
func (s *servers) newest(timeline int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.timeline != 0 && timeline > s.timeline
}

func (s *servers) outdated(timeline int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return timeline < s.timeline
}

// watch compares the servers now and then, beginning when what is done with one takes long, until what it
// returns is called. A frozen server does not say that it was replaced.
func (s *servers) watch() (stop func()) {
	if len(s.hosts) == 1 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	t := time.AfterFunc(doubt, func() {
		for ctx.Err() == nil {
			look, done := context.WithTimeout(ctx, doubt)
			if conn, err := s.Connect(look); err == nil {
				drop(conn)
			}
			done()
			select {
			case <-ctx.Done():
			case <-time.After(doubt):
			}
		}
	})
	return func() {
		t.Stop()
		cancel()
	}
}

// reads are the pool for what is done outside of transactions.
type reads struct {
	*sql.DB
	servers *servers
}

// QueryContext implements gorm.ConnPool.
func (r reads) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	defer r.servers.watch()()
	return r.DB.QueryContext(ctx, query, args...)
}

// QueryRowContext implements gorm.ConnPool.
func (r reads) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	defer r.servers.watch()()
	return r.DB.QueryRowContext(ctx, query, args...)
}
