package results

import (
	"encoding/csv"
	"fmt"
	"io"
	"strings"
)

// WriteCSV writes a table (RFC 4180) that spreadsheets read as what it is: with the mark that says UTF-8,
// and no cell that is a formula.
func WriteCSV(w io.Writer, rows [][]string) error {
	if _, err := io.WriteString(w, "\ufeff"); err != nil {
		return fmt.Errorf("couldn't write a table: %w", err)
	}
	out := csv.NewWriter(w)
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = inert(cell)
		}
		if err := out.Write(cells); err != nil {
			return fmt.Errorf("couldn't write a table: %w", err)
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("couldn't write a table: %w", err)
	}
	return nil
}

// inert keeps a spreadsheet from taking a cell for a formula (OWASP, CSV injection): poll texts and
// reasons are written by people.
func inert(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r\n＝＋－＠", []rune(cell)[0]) {
		return "'" + cell
	}
	return cell
}
