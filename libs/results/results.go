// Package results writes a poll's result in the forms that other people's programs read: CSV for
// spreadsheets, and NIST's Election Results Reporting JSON. See docs/results.md.
package results

import (
	"strconv"

	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/tally"
)

// Rows is a result as a table with a head: a row per option, one for those who left a question
// unanswered, and at the end all ballots and the invalid ones. Words are in a language of the poll, or in
// the first there is.
func Rows(m *poll.Manifest, r *tally.Result, lang string) [][]string {
	rows := [][]string{{"poll", "question", "question_title", "option", "option_label", "kind", "votes"}}
	row := func(cells ...string) { rows = append(rows, append([]string{r.Poll}, cells...)) }
	for i, q := range r.Questions {
		words := questionOf(m, q.ID, i)
		title := In(words.Title, lang)
		for j, o := range q.Options {
			option := optionOf(words, o.ID, j)
			row(q.ID, title, o.ID, In(option.Label, lang), string(option.Kind), number(o.Votes))
		}
		row(q.ID, title, "", "", "unanswered", number(q.Unanswered))
	}
	row("", "", "", "", "ballots", number(r.Ballots))
	row("", "", "", "", "invalid", number(r.Invalid))
	return rows
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

// questionOf finds the words of a result's question; a result has them in the manifest's order.
func questionOf(m *poll.Manifest, id string, i int) poll.Question {
	if i < len(m.Questions) && m.Questions[i].ID == id {
		return m.Questions[i]
	}
	return poll.Question{}
}

func optionOf(q poll.Question, id string, j int) poll.Option {
	if j < len(q.Options) && q.Options[j].ID == id {
		return q.Options[j]
	}
	return poll.Option{}
}

// In picks the text of a language, or of the first there is.
func In(t poll.Text, lang string) string {
	if words, ok := t[lang]; ok {
		return words
	}
	for _, l := range poll.Languages {
		if words, ok := t[l]; ok {
			return words
		}
	}
	return ""
}
