package bench

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"

	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/ballotapi/overhttp"
	"github.com/popvote/popvote/libs/mtls"
	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/receipt"
	"github.com/popvote/popvote/libs/service"
	"github.com/popvote/popvote/libs/signed"
)

// naiveConnections is how many rows may be on their way at once: more wait in the pool. 64 was the best
// of 16, 32, 64 and 128.
const naiveConnections = 64

// naiveVote is a row as one would write it first: everything known of a vote together.
type naiveVote struct {
	Poll    string
	Voter   []byte
	Key     string
	Leaf    []byte
	Sealed  []byte
	Channel string
	Took    int64
}

// naive records each ballot with a Create of its own, and signs each receipt. All else it leaves to the
// real ballot server.
type naive struct {
	ballotapi.Admin
	db     *gorm.DB
	signer *signed.Signer
}

// Naive serves a ballot server's interface with one GORM Create per ballot, for the benchmark to compare
// with: dir is a site's, ballots the address of its real ballot server.
func Naive(ctx context.Context, dir, ballots string, stdout io.Writer) error {
	service.Tune()
	s := &site{dir: dir}
	panel, err := mtls.Load(s.certificates(controlPanel), time.Now)
	if err != nil {
		return err
	}
	box, err := dialBox(panel, ballots)
	if err != nil {
		return err
	}
	defer func() { _ = box.Close() }() // it only read
	dsn, err := os.ReadFile(s.dsn(ballotRole))
	if err != nil {
		return fmt.Errorf("couldn't read the DSN: %w", err)
	}
	// The best that can be said of it: no transaction around a single statement, and that one prepared.
	db, err := gorm.Open(postgres.Open(strings.TrimSpace(string(dsn))), &gorm.Config{
		SkipDefaultTransaction: true, PrepareStmt: true, Logger: logger.Discard,
	})
	if err != nil {
		return fmt.Errorf("couldn't open the database: %w", err)
	}
	pool, err := db.DB()
	if err != nil {
		return err
	}
	defer func() { _ = pool.Close() }() // nothing is on its way any more
	pool.SetMaxOpenConns(naiveConnections)
	pool.SetMaxIdleConns(naiveConnections)
	var scalar [32]byte
	_, _ = rand.Read(scalar[1:]) // below the group's order
	signer, err := signed.NewSigner(scalar)
	if err != nil {
		return err
	}
	files, err := mtls.Load(filepath.Join(dir, "certs", ballotServer), time.Now)
	if err != nil {
		return err
	}
	open, err := service.Listen(ctx, "services", "127.0.0.1:0")
	if err != nil {
		return err
	}
	return service.Serve(ctx, service.Options{Started: func(at []net.Addr) {
		_ = json.NewEncoder(stdout).Encode(map[string]string{"services": at[0].String()}) // the parent waits for it
	}}, service.Listener{
		Name: "services", Open: tls.NewListener(open, files.Server()),
		Handler: overhttp.NewHandler(&naive{box, db, signer}, overhttp.Production()),
	})
}

// Cast implements ballotapi.Caster.
func (n *naive) Cast(ctx context.Context, ballots []ballotapi.Ballot) ([]ballotapi.Outcome, error) {
	outcomes := make([]ballotapi.Outcome, len(ballots))
	for i := range ballots {
		outcomes[i] = n.record(ctx, &ballots[i])
	}
	return outcomes, nil
}

func (n *naive) record(ctx context.Context, b *ballotapi.Ballot) ballotapi.Outcome {
	leaf := ballot.Leaf(b.Poll, b.Sealed)
	row := &naiveVote{b.Poll, b.Voter[:], b.Key, leaf[:], b.Sealed, string(b.Channel), int64(b.Took)}
	done := n.db.WithContext(ctx).Clauses(clause.OnConflict{DoNothing: true}).Create(row)
	if done.Error != nil {
		return ballotapi.Outcome{Err: problem.Wrap(problem.Unavailable, done.Error)}
	}
	if done.RowsAffected == 0 {
		return ballotapi.Outcome{Err: problem.New(problem.AlreadyVoted)}
	}
	receipts, err := receipt.Issue(n.signer, b.Poll, [][32]byte{leaf})
	if err != nil {
		return ballotapi.Outcome{Err: err}
	}
	return ballotapi.Outcome{Receipt: &receipts[0]}
}
