//go:build unix

package drill

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
)

//go:embed page.html.tmpl
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"seconds": func(s float64) string { return fmt.Sprintf("%.1f", s) },
	"ms":      func(s float64) string { return fmt.Sprintf("%.0f", s) },
	"picture": picture,
}).Parse(pageText))

// WritePage writes reports as one page that needs nothing else.
func WritePage(w io.Writer, all []*Report) error {
	if err := page.Execute(w, all); err != nil {
		return fmt.Errorf("couldn't write the page: %w", err)
	}
	return nil
}

// The picture's measures, in its own units.
const (
	width  = 960.0
	height = 180.0
	line   = 16.0 // of an event's text
)

// picture is a drill's timeline: a bar of acknowledged votes for each second, the fault shaded, and what
// was seen, each at its time.
func picture(r *Report) template.HTML {
	most := 1
	for _, n := range r.PerSecond {
		most = max(most, n)
	}
	scale := width / max(r.End, 1)
	total := height + 28 + line*float64(len(r.Events))
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="-44 -8 %.0f %.0f" role="img" aria-label="votes acknowledged in each second of %s">`, width+52, total+8, template.HTMLEscapeString(r.Name))
	fmt.Fprintf(&b, `<rect class="fault" x="%.1f" width="%.1f" height="%.0f"/>`, r.FaultAt*scale, (r.UndoAt-r.FaultAt)*scale, height)
	for second, n := range r.PerSecond {
		h := height * float64(n) / float64(most)
		fmt.Fprintf(&b, `<rect class="votes" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, float64(second)*scale, height-h, max(scale-0.6, 0.4), h)
	}
	fmt.Fprintf(&b, `<path class="axis" d="M0 0V%[1]gH%[2]g"/><text class="at" x="-6" y="8">%[3]d</text><text class="at" x="-6" y="%[1]g">0</text>`, height, width, most)
	for second := 0; float64(second) <= r.End; second += 20 {
		fmt.Fprintf(&b, `<text class="tick" x="%.1f" y="%.0f">%d s</text>`, float64(second)*scale, height+16, second)
	}
	for i, e := range r.Events {
		x, y := e.At*scale, height+36+line*float64(i)
		anchor, dx := "start", 5.0
		if x > width/2 {
			anchor, dx = "end", -5
		}
		fmt.Fprintf(&b, `<path class="event" d="M%.1f 0V%.1f"/><text x="%.1f" y="%.1f" text-anchor="%s">%.1f s %s</text>`,
			x, y, x+dx, y, anchor, e.At, template.HTMLEscapeString(e.What))
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String()) //nolint:gosec // what came from outside is escaped above
}
