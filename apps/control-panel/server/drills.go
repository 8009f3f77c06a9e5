package server

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"regexp"
	"slices"
	"time"

	"github.com/gin-gonic/gin"
)

// drillReport is what `popvote drill` measured, as it writes it into report.json. Times are seconds since its load began.
type drillReport struct {
	Name       string  `json:"name"`
	Hypothesis string  `json:"hypothesis"`
	Target     string  `json:"target"`
	Before     string  `json:"before"`
	Limit      float64 `json:"limit_seconds"`

	FaultAt float64 `json:"fault_at"`
	UndoAt  float64 `json:"undo_at"`
	WholeAt float64 `json:"whole_at"`
	End     float64 `json:"end"`

	Acknowledged int `json:"acknowledged"`
	Lost         int `json:"lost"`
	Doubled      int `json:"doubled"`
	Strange      int `json:"strange"`

	Gap      float64 `json:"gap_seconds"`
	GapAfter float64 `json:"gap_after_seconds"`
	Replaced float64 `json:"replaced_seconds"`
	Ejected  float64 `json:"ejected_seconds"`
	// Milliseconds.
	P99Before float64 `json:"p99_before_ms"`
	P99During float64 `json:"p99_during_ms"`
	P99After  float64 `json:"p99_after_ms"`

	Events    []drillEvent `json:"events"`
	PerSecond []int        `json:"per_second"`
	Wrong     []string     `json:"wrong"`
}

type drillEvent struct {
	At   float64 `json:"at"`
	What string  `json:"what"`
}

// drillRun is one time that drills were run.
type drillRun struct {
	Name   string    `json:"name"`
	At     time.Time `json:"at"`
	Drills int       `json:"drills"`
	// Failed is how many of their hypotheses didn't hold.
	Failed int `json:"failed"`
}

const (
	// runLayout is how a run's directory is called.
	runLayout = "2006-01-02T150405"
	// most of a report is a number for each second; an hour of all drills is some 200 kB.
	maxReport = 8 << 20
	// maxRuns are listed, the newest.
	maxRuns = 50
)

var runName = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}T\d{6}$`)

var errNoDrill = tell(http.StatusNotFound, "drill-not-there", "There is no report of such a drill.")

func (s *Server) readDrill(name string) (reports []drillReport, err error) {
	if !runName.MatchString(name) {
		return nil, errNoDrill
	}
	root, err := os.OpenRoot(s.drills)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	file, err := root.Open(name + "/report.json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoDrill
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // only read
	text, err := io.ReadAll(io.LimitReader(file, maxReport))
	if err != nil {
		return nil, err
	}
	return reports, json.Unmarshal(text, &reports)
}

// listDrills answers with the runs there are, the newest first. One that can't be read is being written, and left out.
func (s *Server) listDrills(c *gin.Context) {
	found, err := os.ReadDir(s.drills)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.fail(c, err)
		return
	}
	slices.SortFunc(found, func(a, b os.DirEntry) int { return cmp.Compare(b.Name(), a.Name()) })
	runs := []drillRun{}
	for _, dir := range found {
		at, err := time.Parse(runLayout, dir.Name())
		if err != nil || len(runs) == maxRuns {
			continue
		}
		reports, err := s.readDrill(dir.Name())
		if err != nil || len(reports) == 0 {
			continue
		}
		run := drillRun{Name: dir.Name(), At: at, Drills: len(reports)}
		for _, r := range reports {
			if len(r.Wrong) > 0 {
				run.Failed++
			}
		}
		runs = append(runs, run)
	}
	c.JSON(http.StatusOK, gin.H{"runs": runs})
}

func (s *Server) showDrill(c *gin.Context) {
	reports, err := s.readDrill(c.Param("run"))
	if err != nil {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, gin.H{"reports": some(reports)})
}
