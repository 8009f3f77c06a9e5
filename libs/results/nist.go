package results

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/tally"
)

// The part of NIST SP 1500-100r2 (Election Results Common Data Format Specification, version 2.0) that a
// poll has: one report of one election, over one reporting unit, with a ballot measure per question. The
// order of members is the specification's, by name.
type (
	nistReport struct {
		Type                string         `json:"@type"`
		Election            []nistElection `json:"Election"`
		Format              string         `json:"Format"`
		GeneratedDate       time.Time      `json:"GeneratedDate"`
		GpUnit              []nistUnit     `json:"GpUnit"`
		IsTest              bool           `json:"IsTest"`
		Issuer              string         `json:"Issuer"`
		IssuerAbbreviation  string         `json:"IssuerAbbreviation"`
		Notes               string         `json:"Notes"`
		SequenceEnd         int            `json:"SequenceEnd"`
		SequenceStart       int            `json:"SequenceStart"`
		Status              string         `json:"Status"`
		TestType            string         `json:"TestType,omitempty"`
		VendorApplicationID string         `json:"VendorApplicationId"`
	}
	nistElection struct {
		Type            string        `json:"@type"`
		BallotCounts    []nistBallots `json:"BallotCounts"`
		Contest         []nistContest `json:"Contest"`
		ElectionScopeID string        `json:"ElectionScopeId"`
		EndDate         string        `json:"EndDate"`
		Name            nistText      `json:"Name"`
		OtherType       string        `json:"OtherType"`
		StartDate       string        `json:"StartDate"`
		ElectionType    string        `json:"Type"`
	}
	nistUnit struct {
		ID                 string   `json:"@id"`
		Type               string   `json:"@type"`
		Name               nistText `json:"Name"`
		OtherType          string   `json:"OtherType"`
		UnitType           string   `json:"Type"`
		VotersParticipated int64    `json:"VotersParticipated"`
	}
	nistContest struct {
		ID                 string          `json:"@id"`
		Type               string          `json:"@type"`
		BallotTitle        nistText        `json:"BallotTitle"`
		ContestSelection   []nistSelection `json:"ContestSelection"`
		ElectionDistrictID string          `json:"ElectionDistrictId"`
		Name               string          `json:"Name"`
		OtherCounts        []nistOther     `json:"OtherCounts"`
		OtherType          string          `json:"OtherType"`
		SequenceOrder      int             `json:"SequenceOrder"`
		MeasureType        string          `json:"Type"`
		VoteVariation      string          `json:"VoteVariation"`
	}
	nistSelection struct {
		ID            string      `json:"@id"`
		Type          string      `json:"@type"`
		Selection     nistText    `json:"Selection"`
		SequenceOrder int         `json:"SequenceOrder"`
		VoteCounts    []nistCount `json:"VoteCounts"`
	}
	nistCount struct {
		Type     string `json:"@type"`
		Count    int64  `json:"Count"`
		GpUnitID string `json:"GpUnitId"`
		ItemType string `json:"Type"`
	}
	nistBallots struct {
		Type            string `json:"@type"`
		BallotsCast     int64  `json:"BallotsCast"`
		BallotsRejected int64  `json:"BallotsRejected"`
		GpUnitID        string `json:"GpUnitId"`
		ItemType        string `json:"Type"`
	}
	nistOther struct {
		Type       string `json:"@type"`
		GpUnitID   string `json:"GpUnitId"`
		Undervotes int64  `json:"Undervotes"`
	}
	nistText struct {
		Type string         `json:"@type"`
		Text []nistLanguage `json:"Text"`
	}
	nistLanguage struct {
		Type     string `json:"@type"`
		Content  string `json:"Content"`
		Language string `json:"Language"`
	}
)

// unit is the one reporting unit: everybody who voted.
const unit = "everybody"

// nistNotes says what the format has no member for.
const nistNotes = "Unofficial: the result of a public vote, certified by no authority. " +
	"The signed result and the public bundle are what can be checked; this file is not signed."

// zones are where the days of a poll begin, by the scheme of its identity numbers; the format has dates
// without times.
var zones = map[string]*time.Location{"hkid": time.FixedZone("HKT", 8*60*60)}

// WriteNIST writes a result in NIST's Election Results Reporting JSON.
func WriteNIST(w io.Writer, m *poll.Manifest, r *tally.Result) error {
	zone := zones[m.Identity.Type]
	if zone == nil {
		zone = time.UTC
	}
	report := nistReport{
		Type: nist("ElectionReport"), Format: "summary-contest", GeneratedDate: r.CountedAt.UTC(),
		GpUnit: []nistUnit{{
			ID: unit, Type: nist("ReportingUnit"), Name: internationalized(m.Title), OtherType: "poll", UnitType: "other",
			VotersParticipated: r.Ballots,
		}},
		Issuer: In(m.Organiser.Name, "en"), IssuerAbbreviation: m.ID, Notes: nistNotes,
		SequenceStart: 1, SequenceEnd: 1, Status: "unofficial-complete", VendorApplicationID: "PopVote",
	}
	if m.Kind != poll.Public {
		report.IsTest, report.TestType = true, string(m.Kind)
	}
	election := nistElection{
		Type: nist("Election"), ElectionScopeID: unit, Name: internationalized(m.Title), ElectionType: "other", OtherType: "public vote",
		StartDate: m.OpensAt.In(zone).Format(time.DateOnly), EndDate: m.ClosesAt.In(zone).Format(time.DateOnly),
		BallotCounts: []nistBallots{{Type: nist("BallotCounts"), BallotsCast: r.Ballots, BallotsRejected: r.Invalid, GpUnitID: unit, ItemType: "total"}},
		Contest:      make([]nistContest, len(r.Questions)),
	}
	for i := range r.Questions {
		election.Contest[i] = contest(m, r, i)
	}
	report.Election = []nistElection{election}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(report); err != nil {
		return fmt.Errorf("couldn't write the result: %w", err)
	}
	return nil
}

func contest(m *poll.Manifest, r *tally.Result, i int) nistContest {
	q := r.Questions[i]
	words := questionOf(m, q.ID, i)
	c := nistContest{
		ID: "q-" + q.ID, Type: nist("BallotMeasureContest"), BallotTitle: internationalized(words.Title), ElectionDistrictID: unit,
		Name: In(words.Title, "en"), MeasureType: "other", OtherType: "question", SequenceOrder: i + 1, VoteVariation: "n-of-m",
		ContestSelection: make([]nistSelection, len(q.Options)),
	}
	// What could have been chosen by those who neither abstained nor left a blank, and was not.
	under := int64(words.Max) * (r.Ballots - r.Invalid)
	for j, o := range q.Options {
		c.ContestSelection[j] = nistSelection{
			ID: "q-" + q.ID + "-o-" + o.ID, Type: nist("BallotMeasureSelection"), SequenceOrder: j + 1,
			Selection:  internationalized(optionOf(words, o.ID, j).Label),
			VoteCounts: []nistCount{{Type: nist("VoteCounts"), Count: o.Votes, GpUnitID: unit, ItemType: "total"}},
		}
		if kind := optionOf(words, o.ID, j).Kind; kind == poll.Abstain || kind == poll.Blank {
			under -= int64(words.Max) * o.Votes
		} else {
			under -= o.Votes
		}
	}
	c.OtherCounts = []nistOther{{Type: nist("OtherCounts"), GpUnitID: unit, Undervotes: under}}
	return c
}

func nist(class string) string { return "ElectionResults." + class }

// internationalized has a text's languages in the order they are offered.
func internationalized(t poll.Text) nistText {
	text := nistText{Type: nist("InternationalizedText"), Text: []nistLanguage{}}
	for _, l := range poll.Languages {
		if words, ok := t[l]; ok {
			text.Text = append(text.Text, nistLanguage{Type: nist("LanguageString"), Content: words, Language: l})
		}
	}
	return text
}
