package deptest

import (
	"slices"
	"testing"
)

func TestForbidReadsTheRealImports(t *testing.T) {
	all := list(t)
	if found := violations(all, map[string]string{"os/exec": "this package runs go list"}); len(found) == 0 {
		t.Error("os/exec is imported by this very package, and wasn't found")
	}
	Forbid(t, map[string]string{"database/sql": "nothing here needs a database"})
}

func TestViolationsNameReasonAndImporter(t *testing.T) {
	all := []dependency{
		{"app", []string{"lib"}},
		{"lib", []string{"gorm.io/gorm/schema"}},
		{"gorm.io/gorm/schema", nil},
		{"gorm.io/gormless", nil},
	}
	got := violations(all, map[string]string{"gorm.io/gorm": "no database behind the public face"})
	want := []string{"gorm.io/gorm/schema must not be here: no database behind the public face (imported by lib)"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
