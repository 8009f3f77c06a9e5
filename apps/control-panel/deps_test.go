package main

import (
	"testing"

	"github.com/popvote/popvote/libs/deptest"
)

// TestThePanelHasNoWayIntoADatabase: every change of a poll goes through ballotapi.Admin, and so into
// the audit chain.
func TestThePanelHasNoWayIntoADatabase(t *testing.T) {
	// Each by itself: what a program links of them may be less.
	for _, dir := range []string{".", "server", "page", "clouds", "operators"} {
		t.Run(dir, func(t *testing.T) {
			t.Chdir(dir)
			deptest.Forbid(t, map[string]string{
				"database/sql$":                                 "polls are reached through ballotapi.Admin only",
				"gorm.io":                                       "the only go.mod with gorm is the ballot server's",
				"github.com/jackc/pgx":                          "no PostgreSQL driver in the panel",
				"github.com/ncruces/go-sqlite3":                 "no SQLite in the panel",
				"github.com/mattn/go-sqlite3":                   "no SQLite in the panel",
				"modernc.org/sqlite":                            "no SQLite in the panel",
				"github.com/popvote/popvote/apps/ballot-server": "what is not linked cannot be called past the audit chain",
				"github.com/popvote/popvote/apps/api-server":    "voters and operators share no running code",
				"github.com/popvote/popvote/apps/sms-gateway":   "phone numbers have no place in the panel",
			})
		})
	}
}
