//go:build unix

package pgcluster

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// Promote makes a standby a primary, and waits until it takes writes. It asks nobody whether there is a
// standby that has more: see Failover.
func (n *Node) Promote() error {
	_, err := n.tool("pg_ctl", "promote", "--wait", "--pgdata="+n.data)
	return err
}

// Follow has a standby follow another server from now on; nil is nobody: it keeps what it has.
func (n *Node) Follow(other *Node) error {
	if other == nil {
		if err := n.Set("primary_conninfo", ""); err != nil {
			return err
		}
		return n.until("0", "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walreceiver'")
	}
	return n.Set("primary_conninfo", n.from(other))
}

// Failover replaces a primary that is gone or frozen, as an operator's tools would, and returns the new
// one. No commit that waited for a standby is lost by it: first no standby follows the old primary any
// more, which from then on can't acknowledge anything; then the one that has most is promoted, and the
// others follow it. In a synchronous cluster the new primary's commits wait for one of them.
//
// It fails if a standby doesn't answer: that one may be the only one to have a commit.
func (c *Cluster) Failover() (*Node, error) {
	var leader *Node
	var most int64
	for _, n := range c.standbys {
		if err := n.Follow(nil); err != nil {
			return nil, err
		}
		has, err := n.received()
		if err != nil {
			return nil, err
		}
		if leader == nil || has > most {
			leader, most = n, has
		}
	}
	if leader == nil {
		return nil, errors.New("couldn't fail over: there is no standby")
	}
	if c.sync {
		// Before it takes its first commit.
		if err := leader.Set("synchronous_standby_names", anyOne); err != nil {
			return nil, err
		}
	}
	if err := leader.Promote(); err != nil {
		return nil, err
	}
	others := slices.DeleteFunc(slices.Clone(c.standbys), func(n *Node) bool { return n == leader })
	c.primary, c.standbys = leader, others
	for _, n := range others {
		if err := n.Follow(leader); err != nil {
			return nil, err
		}
	}
	state := `SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'`
	if c.sync {
		state = quorum
	}
	return leader, leader.until(strconv.Itoa(len(others)), state)
}

// received is how far a standby's copy of the log of writes goes, bytes.
func (n *Node) received() (int64, error) {
	out, err := n.SQL("postgres", "SELECT greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0'::pg_lsn")
	if err != nil {
		return 0, err
	}
	has, err := strconv.ParseInt(out, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("couldn't learn what %s has: %w", n.name, err)
	}
	return has, nil
}
