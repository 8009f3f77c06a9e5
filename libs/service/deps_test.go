package service

import (
	"testing"

	"github.com/popvote/popvote/libs/deptest"
)

func TestNoDriverComesInThroughTheBootstrap(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"database/sql":         "every program imports this package, also those that must have no database",
		"gorm.io":              "as above",
		"github.com/jackc/pgx": "as above",
		"github.com/ncruces":   "as above",
		"github.com/gin-gonic": "probes and signals need no web framework",
		"github.com/redis":     "the gateway's Redis client belongs to those who use it",
		"github.com/hashicorp": "Consul, Vault and Nomad come in through adapters",
	})
}
