package smsc

import (
	"testing"

	"github.com/popvote/popvote/libs/deptest"
)

func TestTheGatewayHasNoDatabaseAndSeesNoIdentity(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"database/sql":         "the gateway takes messages from the internet: nothing here may reach the participation table",
		"gorm.io":              "as above",
		"github.com/jackc/pgx": "as above",
		"github.com/ncruces":   "as above",
		"github.com/popvote/popvote/apps/ballot-server": "only what talks to the database imports its owner",
		"github.com/popvote/popvote/libs/token":         "a session is between the voter and the API server",
		"github.com/popvote/popvote/libs/ballot":        "no choice ever passes here",
	})
}
