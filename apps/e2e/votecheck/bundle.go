package votecheck

import (
	"archive/zip"
	"bufio"
	"encoding/json"
	"fmt"
	"io"
)

// ReadBundle reads a poll's public bundle (docs/bundle.md). It believes what it reads: signatures and
// proofs are for `popvote verify`, and this reader shares no code with it.
func ReadBundle(path string) (Final, error) {
	var f Final
	z, err := zip.OpenReader(path)
	if err != nil {
		return f, fmt.Errorf("couldn't open the bundle: %w", err)
	}
	defer func() { _ = z.Close() }() // only read
	if err := payload(&z.Reader, "manifest.json", &f.Manifest); err != nil {
		return f, err
	}
	if err := payload(&z.Reader, "result.json", &f.Result); err != nil {
		return f, err
	}
	file, err := z.Open("ballots.ndjson")
	if err != nil {
		return f, fmt.Errorf("couldn't open the ballots: %w", err)
	}
	defer func() { _ = file.Close() }() // only read
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var line struct {
			Sealed []byte `json:"sealed"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return f, fmt.Errorf("couldn't read ballot %d: %w", len(f.Sealed)+1, err)
		}
		f.Sealed = append(f.Sealed, line.Sealed)
	}
	return f, lines.Err()
}

// payload reads what a signed document's JWS carries.
func payload(z *zip.Reader, name string, into any) error {
	file, err := z.Open(name)
	if err != nil {
		return fmt.Errorf("couldn't open %s: %w", name, err)
	}
	defer func() { _ = file.Close() }() // only read
	content, err := io.ReadAll(file)
	if err != nil {
		return fmt.Errorf("couldn't read %s: %w", name, err)
	}
	return payloadOf(content, name, into)
}
