package bundle

import (
	_ "embed"
	"io"
	"strings"
	"text/template"
	"unicode/utf8"

	"github.com/popvote/popvote/libs/poll"
)

//go:embed README.txt.tmpl
var readmeText string

var readmeTemplate = template.Must(template.New(readmeFile).Parse(readmeText))

// readme tells whoever opens the ZIP by hand what is in it.
func readme(w io.Writer, m *poll.Manifest) error {
	title := m.Title["en"]
	if title == "" && len(m.Languages) > 0 {
		title = m.Title[m.Languages[0]]
	}
	return readmeTemplate.Execute(w, struct {
		ID, Title, Rule, Key string
		Revealed             bool
	}{m.ID, title, strings.Repeat("=", utf8.RuneCountInString(title)), m.SigningKey.Kid, m.RevealTallyKey})
}
