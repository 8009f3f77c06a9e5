package e2e_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pages name tests; each row of rows is to be there, once, with something in every column.
var pages = []struct {
	name     string
	row      string // the first cell, with a place for the number
	rows     int
	columns  int
	leastOf  int // fewer tests than that prove little
	leastNPM int
}{
	{"threat-model.md", "T%d", 32, 5, 100, 5},
	{"security-checklist.md", "%d", 44, 5, 60, 3},
}

func TestTheThreatModelNamesRealTests(t *testing.T) {
	t.Parallel()
	functions, titles := everyTest(t)
	for _, page := range pages {
		text := document(t, page.name)
		named := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(text, -1)
		if len(named) < page.leastOf {
			t.Errorf("%s names %d tests: that proves little", page.name, len(named))
		}
		for _, m := range named {
			if m[1] != "TestSomething" && !functions[m[1]] {
				t.Errorf("%s names %s, which is no test", page.name, m[1])
			}
		}
		// A file of npm's tests is named with the title of one of them.
		files := regexp.MustCompile("`([\\w-]+\\.test\\.(?:ts|mjs))`(?: \\(\\*([^*]+)\\*\\))?").FindAllStringSubmatch(text, -1)
		if len(files) < page.leastNPM {
			t.Errorf("%s names %d of npm's tests", page.name, len(files))
		}
		for _, m := range files {
			if m[2] == "" || !titles[m[1]][m[2]] {
				t.Errorf("%s names %s (%s), which is no test", page.name, m[1], m[2])
			}
		}
	}
}

func TestEveryThreatAndLineHasItsRow(t *testing.T) {
	t.Parallel()
	for _, page := range pages {
		found := map[string]int{}
		for line := range strings.Lines(document(t, page.name)) {
			line = strings.TrimSpace(line)
			if !strings.HasPrefix(line, "|") || !strings.HasSuffix(line, "|") {
				continue
			}
			cells := strings.Split(strings.Trim(line, "|"), "|")
			first := strings.TrimSpace(cells[0])
			if !regexp.MustCompile(`^T?\d+$`).MatchString(first) {
				continue
			}
			found[first]++
			if len(cells) != page.columns {
				t.Errorf("%s: %s has %d columns, want %d", page.name, first, len(cells), page.columns)
			}
			for i, cell := range cells {
				if strings.TrimSpace(cell) == "" {
					t.Errorf("%s: %s has nothing in column %d", page.name, first, i+1)
				}
			}
		}
		for n := range page.rows {
			if row := fmt.Sprintf(page.row, n+1); found[row] != 1 {
				t.Errorf("%s has %d rows for %s", page.name, found[row], row)
			}
		}
		if len(found) != page.rows {
			t.Errorf("%s has %d rows, want %d", page.name, len(found), page.rows)
		}
	}
}

func document(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// everyTest is Go's by name, and npm's by file and title as it is written.
func everyTest(t *testing.T) (functions map[string]bool, titles map[string]map[string]bool) {
	t.Helper()
	functions, titles = map[string]bool{}, map[string]map[string]bool{}
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(\w+ \*testing\.[TF]\)`)
	title := regexp.MustCompile("(?m)^\\s*(?:it|test)(?:\\.each\\(.*\\))?\\(['`](.+?)['`],")
	for _, dir := range []string{"apps", "libs", "tools"} {
		err := filepath.WalkDir(filepath.Join("..", "..", dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && d.Name() == "node_modules" {
				return fs.SkipDir
			}
			js := strings.HasSuffix(path, ".test.ts") || strings.HasSuffix(path, ".test.mjs")
			if !js && !strings.HasSuffix(path, "_test.go") {
				return nil
			}
			source, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if !js {
				for _, m := range function.FindAllSubmatch(source, -1) {
					functions[string(m[1])] = true
				}
				return nil
			}
			if titles[d.Name()] == nil {
				titles[d.Name()] = map[string]bool{}
			}
			for _, m := range title.FindAllSubmatch(source, -1) {
				// The language that a test is run in stands behind what it is about.
				titles[d.Name()][strings.TrimSuffix(string(m[1]), " (${lang})")] = true
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return functions, titles
}
