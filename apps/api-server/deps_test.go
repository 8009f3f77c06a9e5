package main

import (
	"testing"

	"github.com/popvote/popvote/libs/deptest"
)

// TestNoDatabaseBehindThePublicFace: whoever takes over this program finds no way to the ballots in it.
func TestNoDatabaseBehindThePublicFace(t *testing.T) {
	// Each by itself: what a program links of them may be less.
	for _, dir := range []string{".", "server", "page", "plain", "captcha", "humancheck", "toll"} {
		t.Run(dir, func(t *testing.T) {
			t.Chdir(dir)
			deptest.Forbid(t, map[string]string{
				"database/sql$":                                 "the only owner of the database is the ballot server",
				"gorm.io":                                       "the only go.mod with gorm is the ballot server's",
				"github.com/jackc/pgx":                          "no PostgreSQL driver behind the public face",
				"github.com/ncruces/go-sqlite3":                 "no SQLite behind the public face",
				"github.com/mattn/go-sqlite3":                   "no SQLite behind the public face",
				"modernc.org/sqlite":                            "no SQLite behind the public face",
				"github.com/popvote/popvote/apps/ballot-server": "the ballot server is reached through libs/ballotapi",
				"github.com/popvote/popvote/apps/sms-gateway":   "the gateway is met on the verification board",
				"github.com/popvote/popvote/libs/tally":         "what opens ballots has no place where they pass by",
				"github.com/popvote/popvote/libs/trustee":       "trustees' keys have no place where ballots pass by",
			})
		})
	}
}
