package store

import (
	"encoding/hex"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/ballot-server/internal/pgtest"
	"github.com/popvote/popvote/libs/pgcluster"
	"github.com/popvote/popvote/libs/vault"
	"github.com/popvote/popvote/libs/vault/setup"
	"github.com/popvote/popvote/libs/vaulttest"
)

// TestCredentialsOfVault: votes are recorded with credentials that Vault makes for a few seconds each; no
// batch fails as they change. When all of them are revoked at once, connections with them, none is lost.
func TestCredentialsOfVault(t *testing.T) {
	// Passwords are asked for, of all but the superuser.
	hba := filepath.Join(t.TempDir(), "pg_hba.conf")
	ok(t, os.WriteFile(hba, []byte("host all postgres,popvote_owner 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"), 0o644))
	for dir := filepath.Dir(hba); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		ok(t, os.Chmod(dir, 0o755))
	}
	c := pgcluster.Start(t, pgcluster.Options{Settings: map[string]string{"hba_file": hba}})
	primary := c.Primary()
	db := pgtest.On(t, primary, Migrate)
	db.SQL(t, "postgres", `CREATE ROLE vault LOGIN CREATEROLE PASSWORD 'of a test';
		GRANT popvote_ballot, popvote_owner TO vault WITH ADMIN OPTION; GRANT pg_signal_backend TO vault`)

	server, workloads := vaulttest.Start(t), vaulttest.NewWorkloads(t)
	_, err := setup.Apply(t.Context(), server.Client(), setup.Config{Files: os.DirFS("../../../../vault-policies"), Values: map[string]string{
		"jwks_url":     workloads.URL,
		"database_url": "postgresql://{{username}}:{{password}}@" + primary.Addr() + "/" + db.Name + "?sslmode=disable", "database_admin": "vault", "database_password": "of a test",
	}})
	ok(t, err)
	role, err := server.Client().Logical().Read("database/roles/ballot-server")
	ok(t, err)
	role.Data["default_ttl"], role.Data["max_ttl"] = "4s", "4s" // in the place of an hour
	_, err = server.Client().Logical().Write("database/roles/ballot-server", role.Data)
	ok(t, err)

	log := slog.New(slog.DiscardHandler)
	client, err := vault.Open(t.Context(), vault.Settings{Address: server.Address(), JWT: workloads.File("popvote", "ballot-server")}, "ballot-server", log)
	ok(t, err)
	go client.Run(t.Context())
	credentials, err := vault.OpenCredentials(t.Context(), client, "ballot-server", log)
	ok(t, err)
	go credentials.Run(t.Context())

	s := openTest(t, Config{DSN: "postgres://nobody@" + primary.Addr() + "/" + db.Name + "?sslmode=disable", Credentials: credentials})
	// Connections end well before the credentials they were made with: here a second, in the place of five minutes.
	s.engine.(*postgres).pool.SetConnMaxLifetime(time.Second)
	addPoll(t, s, "p")
	w := &voting{voters: map[string]bool{}}
	var all sync.WaitGroup
	over := make(chan struct{})
	for range 3 {
		all.Go(func() {
			for {
				select {
				case <-over:
					return
				case <-time.After(time.Millisecond):
				}
				w.write(t, s)
			}
		})
	}
	users := map[string]bool{}
	await := func(what string, is func() bool) {
		t.Helper()
		for range 3000 {
			user, _, _ := credentials.Get(t.Context())
			users[user] = true
			if is() {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("waited in vain until %s", what)
	}
	await("the credentials have changed four times", func() bool { return len(users) > 4 })
	if n := w.failed.Load(); n > 0 {
		t.Errorf("%d batches failed while the credentials changed: %v", n, *w.last.Load())
	}
	if who := db.SQL(t, db.Name, "SELECT string_agg(DISTINCT usename, ' ') FROM pg_stat_activity WHERE application_name = 'popvote'"); !strings.HasPrefix(who, "v-") {
		t.Errorf("the ballot server is connected as %s", who)
	}

	// The ballot server's log-in is revoked, and with it whatever it was lent.
	for range 2 {
		now, _, _ := credentials.Get(t.Context())
		_, err = server.Client().Logical().Write("sys/leases/revoke-prefix/auth/jwt-nomad/login", nil)
		ok(t, err)
		await("the role is gone", func() bool { // Vault has answered before
			return db.SQL(t, db.Name, "SELECT count(*) FROM pg_roles WHERE rolname = '"+now+"'") == "0"
		})
		before := w.recorded.Load()
		await("votes are recorded again", func() bool {
			user, _, _ := credentials.Get(t.Context())
			return user != now && w.recorded.Load() > before+100
		})
	}
	close(over)
	all.Wait()

	stored := strings.Fields(db.SQL(t, db.Name, "SELECT encode(voter, 'hex') FROM participation"))
	for _, voter := range stored {
		delete(w.voters, voter)
	}
	if len(w.voters) > 0 || int64(len(stored)) != w.recorded.Load() {
		t.Errorf("%d votes are stored, %d were acknowledged, %d of those are lost", len(stored), w.recorded.Load(), len(w.voters))
	}
	t.Logf("%d votes, %d tries failed, %d users", len(stored), w.failed.Load(), len(users))
}

// voting records ballots, each until it is recorded.
type voting struct {
	recorded, failed atomic.Int64
	last             atomic.Pointer[error]

	mu     sync.Mutex
	voters map[string]bool // of acknowledged ballots
}

func (w *voting) write(t *testing.T, s *Store) {
	g := group("p", randomBallot(sealedSize))
	for t.Context().Err() == nil {
		err := s.Record(t.Context(), []*Group{g})
		if err == nil {
			if v := g.Verdicts[0]; v.Judgement != Recorded {
				t.Errorf("a ballot of nobody else's is judged %+v", v)
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			w.voters[hex.EncodeToString(g.Ballots[0].Voter[:])] = true
			w.recorded.Add(1)
			return
		}
		w.failed.Add(1)
		w.last.Store(&err)
		time.Sleep(10 * time.Millisecond)
	}
}
