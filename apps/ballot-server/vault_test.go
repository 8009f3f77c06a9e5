package main

import (
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/ballot-server/internal/pgtest"
	"github.com/popvote/popvote/apps/ballot-server/server"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/ballotapi/overhttp"
	"github.com/popvote/popvote/libs/discovery"
	"github.com/popvote/popvote/libs/mtls"
	"github.com/popvote/popvote/libs/pgcluster"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/service/servicetest"
	"github.com/popvote/popvote/libs/trustee"
	"github.com/popvote/popvote/libs/vault"
	"github.com/popvote/popvote/libs/vault/setup"
	"github.com/popvote/popvote/libs/vaulttest"
)

// TestWithVault: with neither a key, nor a certificate, nor a password in any file it serves, and goes on
// while Vault is sealed.
func TestWithVault(t *testing.T) {
	db := pgtest.New(t, server.Migrate)
	at := "@" + db.Node.Addr() + "/" + db.Name + "?sslmode=disable"
	s, w := vaulttest.Start(t), vaulttest.NewWorkloads(t)
	_, err := setup.Apply(t.Context(), s.Client(), setup.Config{Files: os.DirFS("../../vault-policies"), Values: map[string]string{
		"jwks_url": w.URL, "database_url": "postgresql://{{username}}:{{password}}" + at, "database_admin": pgcluster.Superuser, "database_password": "unused",
	}})
	if err != nil {
		t.Fatal(err)
	}
	var errs servicetest.Output
	listens, stop := servicetest.Start(t, run, 2, &errs, &errs, "-database", write(t, "postgres://nobody"+at), "-cluster=false",
		"-vault-address", s.Address(), "-vault-jwt", w.File("popvote", name), "-admin", "127.0.0.1:0", "-listen", "127.0.0.1:0")
	finder, err := discovery.At(map[string][]string{name: {listens["services"]}})
	if err != nil {
		t.Fatal(err)
	}
	client := func(as string) *overhttp.Client {
		t.Helper()
		log := slog.New(slog.DiscardHandler)
		in, err := vault.Open(t.Context(), vault.Settings{Address: s.Address(), JWT: w.File("popvote", as)}, as, log)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := mtls.FromVault(t.Context(), mtls.VaultConfig{Client: in, Service: as, Clock: time.Now, Log: log})
		if err != nil {
			t.Fatal(err)
		}
		c, err := overhttp.NewClient(overhttp.ClientConfig{Finder: finder, TLS: signed.Client(name)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	api, panel := client("api-server"), client("control-panel")
	lunch, err := poll.Sample("lunch")
	if err != nil {
		t.Fatal(err)
	}
	if _, lunch.TallyKey, err = trustee.NewKey(); err != nil {
		t.Fatal(err)
	}
	s.Seal()
	if err := panel.Apply(t.Context(), *lunch, ballotapi.Change{Actor: "tester", Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	if _, err := api.Manifest(t.Context(), lunch.ID); err != nil {
		t.Error(err)
	}
	if status, body := servicetest.Get(t, "http://"+listens["admin"]+"/readyz"); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
	who := db.SQL(t, db.Name, "SELECT string_agg(DISTINCT usename, ' ') FROM pg_stat_activity WHERE application_name = 'popvote' AND datname = current_database()")
	if !strings.HasPrefix(who, "v-") {
		t.Errorf("it is connected as %q", who)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
