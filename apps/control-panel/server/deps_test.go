package server_test

import (
	"testing"

	"github.com/popvote/popvote/libs/deptest"
)

func TestThePanelHasNoWayIntoADatabase(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"database/sql":                                  "polls are reached through ballotapi.Admin only, so that every change is in the audit chain",
		"gorm.io":                                       "the ballot server alone owns the database",
		"github.com/jackc/pgx":                          "the ballot server alone owns the database",
		"github.com/ncruces/go-sqlite3":                 "the ballot server alone owns the database",
		"modernc.org/sqlite":                            "the ballot server alone owns the database",
		"github.com/mattn/go-sqlite3":                   "the ballot server alone owns the database",
		"github.com/popvote/popvote/apps/ballot-server": "what is not linked cannot be called past the audit chain",
		"github.com/popvote/popvote/apps/api-server":    "voters and operators share no code that runs",
	})
}
