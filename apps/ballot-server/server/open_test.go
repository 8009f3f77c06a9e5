package server

import (
	"bytes"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3/driver"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/popvote/popvote/apps/ballot-server/internal/store"
	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
)

// raw changes the closed database behind the server's back.
func (b *box) raw(statements ...string) {
	b.t.Helper()
	db := b.file()
	defer func() { b.ok(db.Close()) }()
	for _, s := range statements {
		if _, err := db.ExecContext(b.t.Context(), s); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *box) file() *sql.DB {
	b.t.Helper()
	db, err := driver.Open("file:" + filepath.Join(b.cfg.Dir, store.FileName))
	b.ok(err)
	return db
}

// refuses opens the data directory and wants a refusal that says all of the words.
func (b *box) refuses(words ...string) {
	b.t.Helper()
	s, err := Open(b.t.Context(), b.cfg, b.deps)
	if err == nil {
		b.ok(s.Close())
		b.t.Fatal("it was opened")
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			b.t.Errorf("the refusal %q does not say %q", err, w)
		}
	}
}

func TestOpenRefusesDirectoryInUse(t *testing.T) {
	b := newBox(t)
	b.refuses(b.cfg.Dir, "another ballot server is using it")
	b.close()
	b.open() // and not any more
}

func TestOpenRefusesNewerSchema(t *testing.T) {
	b := newBox(t)
	b.close()
	b.raw(`INSERT INTO migrations (id) VALUES ('0099')`)
	b.refuses("newer PopVote", "0099", "0003")
}

// TestOpenTakesWithdrawnSchema: data directories made before the first release may have a table that is no
// longer made.
func TestOpenTakesWithdrawnSchema(t *testing.T) {
	b := newBox(t)
	b.close()
	b.raw(`CREATE TABLE epochs (poll INTEGER PRIMARY KEY)`)
	b.raw(`INSERT INTO migrations (id) VALUES ('0002')`)
	b.open()
}

func TestOpenRefusesForeignFile(t *testing.T) {
	b := newBox(t)
	b.close()
	b.raw(`PRAGMA application_id = 1`)
	b.refuses("another program's database")
	b.ok(os.WriteFile(filepath.Join(b.cfg.Dir, store.FileName), bytes.Repeat([]byte("not a database"), 1000), 0o600))
	b.refuses("it is not a database")
}

func TestOpenRefusesDirectoryThatCannotBeWritten(t *testing.T) {
	b := newBox(t)
	b.close()
	file := filepath.Join(t.TempDir(), "file")
	b.ok(os.WriteFile(file, nil, 0o600))
	b.cfg.Dir = file
	b.refuses("couldn't make data directory", file)
	b.cfg.Dir = "/proc/1"
	b.refuses("couldn't write to data directory /proc/1")
}

// TestOpenRefusesOtherKeys: with another key file, receipts would be signed by a key that no manifest names.
func TestOpenRefusesOtherKeys(t *testing.T) {
	b := newBox(t)
	b.close()
	b.deps.Secrets = secrets("others")
	b.refuses("poll lunch", "bring back the key file")
}

// TestOpenRefusesTamperedAudit changes each column of the chain, cuts it short, and swaps entries.
func TestOpenRefusesTamperedAudit(t *testing.T) {
	for _, tamper := range []string{
		`UPDATE audit SET actor = 'somebody else' WHERE seq = 2`,
		`UPDATE audit SET reason = 'another reason' WHERE seq = 1`,
		`UPDATE audit SET action = 'paused' WHERE seq = 2`,
		`UPDATE audit SET detail = '{}' WHERE seq = 3`,
		`UPDATE audit SET at = at - 1000 WHERE seq = 3`,
		`UPDATE audit SET prev = x'00' WHERE seq = 2`,
		`UPDATE audit SET hash = x'00' WHERE seq = 3`,
		`DELETE FROM audit WHERE seq = 3`,
		`DELETE FROM audit WHERE seq = 1`,
		`DELETE FROM audit`,
		`UPDATE audit SET seq = seq + 1 WHERE seq = 3`,
	} {
		t.Run(tamper, func(t *testing.T) {
			b := newBox(t)
			b.move(poll.Open)
			b.move(poll.Paused)
			b.reopen() // untouched, it is accepted
			b.close()
			b.raw(tamper)
			b.refuses("audit chain of lunch")
		})
	}
}

// TestNothingJoinsVoterAndBallot looks at the closed file of a poll as an insider would, knowing one
// voter's tag, key and sealed ballot.
func TestNothingJoinsVoterAndBallot(t *testing.T) {
	var logged bytes.Buffer
	b := newBox(t)
	b.close()
	registry := prometheus.NewRegistry()
	b.deps.Log, b.deps.Metrics = slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug})), registry
	b.open()
	b.move(poll.Open)
	const voters = 60
	var ballots []ballotapi.Ballot
	var leaves [][32]byte
	for who := range voters {
		ballots = append(ballots, cast(who, fmt.Sprint("k", who), b.junk()))
		leaves = append(leaves, ballot.Leaf("lunch", ballots[who].Sealed))
		b.expect(b.cast(ballots[who])[0], "") // each in a batch of its own, in this order
	}
	b.close()

	db := b.file()
	defer func() { b.ok(db.Close()) }()
	shared := map[string]string{} // value to the table it was seen in
	var order []int               // voters in the order of the participation table
	for _, table := range []string{"participation", "leaves", "batches"} {
		rows, err := db.QueryContext(t.Context(), "SELECT * FROM "+table)
		b.ok(err)
		columns, err := rows.Columns()
		b.ok(err)
		for rows.Next() {
			values := make([]any, len(columns))
			for i := range values {
				values[i] = new(any)
			}
			b.ok(rows.Scan(values...))
			for i, column := range columns {
				v := *values[i].(*any)
				raw, isBytes := v.([]byte)
				if !isBytes {
					if column != "poll" && column != "place" && column != "jws" {
						t.Errorf("%s.%s is a number or a text: what is it for?", table, column)
					}
					continue
				}
				if in, ok := shared[string(raw)]; ok && table != "participation" && in == "participation" {
					t.Errorf("%s.%s has a value of the participation table", table, column)
				}
				shared[string(raw)] = table
				for who, ballot := range ballots {
					leaf := leaves[who]
					if table == "participation" && bytes.Equal(raw, ballot.Voter[:]) {
						order = append(order, who)
					}
					if table == "participation" && (bytes.Contains(ballot.Sealed, raw) || bytes.Contains(leaf[:], raw)) {
						t.Errorf("participation.%s comes from the sealed ballot", column)
					}
					if table != "participation" && bytes.Contains(raw, ballot.Voter[:]) {
						t.Errorf("%s.%s has a voter's tag", table, column)
					}
					// Plain hashes of the key, with and without the ballot, could be tried.
					plain := sha256.Sum256([]byte(ballot.Key))
					request := sha256.Sum256(append([]byte(ballot.Key+"\x00"), ballot.Sealed...))
					if bytes.HasPrefix(plain[:], raw) || bytes.HasPrefix(request[:], raw) {
						t.Errorf("%s.%s is a hash that anybody can compute", table, column)
					}
				}
			}
		}
		b.ok(rows.Err())
		b.ok(rows.Close())
	}
	if len(order) != voters {
		t.Fatalf("%d voters are in the participation table", len(order))
	}
	ascending := 0
	for i := 1; i < voters; i++ {
		if order[i] > order[i-1] {
			ascending++
		}
	}
	if ascending > voters*3/4 || ascending < voters/4 {
		t.Errorf("the rows keep the order of the casts: %v", order)
	}
	// The database's log of writes has that order; it is gone.
	if info, err := os.Stat(filepath.Join(b.cfg.Dir, store.FileName+"-wal")); err == nil && info.Size() > 0 {
		t.Errorf("the log of writes has %d bytes", info.Size())
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	families, err := registry.Gather()
	b.ok(err)
	said := logged.String() + fmt.Sprint(families)
	for _, ballot := range ballots {
		if tag, _ := ballot.Voter.MarshalText(); strings.Contains(said, string(tag)) || strings.Contains(said, ballot.Key) {
			t.Error("a log or a metric names a voter")
		}
	}
}

// TestTurnoutIsCoarse: what is kept of time is whole minutes, and what is published whole hours.
func TestTurnoutIsCoarse(t *testing.T) {
	b := newBox(t)
	b.move(poll.Open)
	for i, at := range []time.Duration{-40 * time.Minute, 10 * time.Second, 50 * time.Second, 70 * time.Second} {
		b.clock.set(noon.Add(at))
		ballot := cast(i, "k", b.junk())
		if i == 3 {
			ballot.Channel, ballot.Took = ballotapi.App, 2*time.Hour
		}
		b.expect(b.cast(ballot)[0], "")
	}
	d, err := b.Turnout(t.Context(), "lunch")
	b.ok(err)
	var got ballotapi.Turnout
	_, err = d.Open(b.manifest().SigningKey, &got)
	b.ok(err)
	want := ballotapi.Turnout{
		Poll: "lunch", AsOf: noon.Add(time.Minute), Total: 4,
		ByChannel: map[ballotapi.Channel]int64{ballotapi.Web: 3, ballotapi.App: 1},
		ByHour:    []ballotapi.HourCount{{Hour: noon.Add(-time.Hour), Count: 1}, {Hour: noon, Count: 3}},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the turnout is %+v, want %+v", got, want)
	}
	stats, err := b.Stats(t.Context(), "lunch")
	b.ok(err)
	if len(stats.PerMinute) != 3 || stats.PerMinute[1].ByChannel[ballotapi.Web] != 2 {
		t.Errorf("the minutes are %+v", stats.PerMinute)
	}
	if first, last := stats.Took[1], stats.Took[len(stats.Took)-1]; first != (ballotapi.TookBucket{UpTo: 60, Count: 3}) || last != (ballotapi.TookBucket{UpTo: 0, Count: 1}) {
		t.Errorf("the times to vote are %+v", stats.Took)
	}
}

func TestTookBucket(t *testing.T) {
	for took, want := range map[time.Duration]int{0: 30, 30 * time.Second: 30, 30*time.Second + 1: 60, time.Hour: 3600, time.Hour + 1: 0, -time.Second: 30} {
		if got := tookBucket(took); got != want {
			t.Errorf("%v is in the bucket %d, want %d", took, got, want)
		}
	}
}

func TestHealth(t *testing.T) {
	b := newBox(t)
	h, err := b.Health(t.Context())
	b.ok(err)
	if h.Schema != 2 || h.QueueMax != 8192 || !strings.HasPrefix(h.Database, "SQLite 3.") || h.DiskFree <= 0 {
		t.Errorf("%+v", h)
	}
}
