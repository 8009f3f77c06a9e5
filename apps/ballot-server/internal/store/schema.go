package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-gormigrate/gormigrate/v2"
	"gorm.io/gorm"
)

// Schema changes are versioned and only ever added to: a released one is never edited. Each is written
// so that it is safe while voting goes on.

func script(sql string) gormigrate.MigrateFunc {
	return func(tx *gorm.DB) error { return tx.Exec(sql).Error }
}

// withdrawn is a migration that no release had. It made a table that nobody read; a database that has it
// keeps it. Its number is not given again.
const withdrawn = "0002"

// ErrNewer is a database that this program is too old for.
var ErrNewer = errors.New("it was written by a newer PopVote")

// refuseNewer stops an older program from writing into what a newer one made.
func refuseNewer(db *gorm.DB, migrations []*gormigrate.Migration) error {
	if !db.Migrator().HasTable(gormigrate.DefaultOptions.TableName) {
		return nil
	}
	var done []string
	if err := db.Table(gormigrate.DefaultOptions.TableName).Order("id").Pluck("id", &done).Error; err != nil {
		return fmt.Errorf("couldn't read which migrations it has: %w", err)
	}
	var unknown []string
	for _, id := range done {
		known := slices.ContainsFunc(migrations, func(m *gormigrate.Migration) bool { return m.ID == id })
		if !known && id != withdrawn {
			unknown = append(unknown, id)
		}
	}
	if len(unknown) > 0 {
		return fmt.Errorf("%w (schema %s; this one knows %s): start that version instead",
			ErrNewer, strings.Join(unknown, ", "), migrations[len(migrations)-1].ID)
	}
	return nil
}
