package bundle

import (
	"archive/zip"
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"reflect"
	"strings"

	"github.com/popvote/popvote/libs/signed"
)

// ErrNotBundle means that a file is not a bundle at all, so that there is nothing to verify.
var ErrNotBundle = errors.New("this is not a bundle of a poll")

// Limits that keep a hostile file from taking more than its own size.
const (
	maxDocument  = 8 << 20 // manifest.json, result.json
	maxSmall     = 64 << 10
	maxLine      = 16 << 10
	maxDirectory = 1 << 20
	// maxGrowth bounds ballots.ndjson by the bundle's size. Ciphertext does not compress, and base64
	// grows it by a third: an honest file grows less than twice.
	maxGrowth = 4
)

// limits are the files a bundle may have, with the most bytes that are read of each; 0 is unlimited here.
var limits = map[string]int64{
	readmeFile:     maxDocument,
	manifestFile:   maxDocument,
	resultFile:     maxDocument,
	checkpointFile: maxSmall,
	ballotsFile:    0, // see maxGrowth
	openedFile:     0, // no more lines than there are ballots
	tallyKeyFile:   maxSmall,

	certificateFile: maxSmall,
}

// archive is an opened bundle.
type archive struct {
	files map[string]*zip.File
	size  int64
	// faults is what is wrong with the container.
	faults []string
}

// directoryReader fails once the ZIP's directory turns out larger than that of any bundle: reading a
// directory of millions of entries would take gigabytes.
type directoryReader struct {
	r    io.ReaderAt
	left int64
	open bool
}

func (d *directoryReader) ReadAt(p []byte, at int64) (int, error) {
	if !d.open {
		if d.left -= int64(len(p)); d.left < 0 {
			return 0, errors.New("its directory is too large")
		}
	}
	return d.r.ReadAt(p, at)
}

func openArchive(r io.ReaderAt, size int64) (*archive, error) {
	limited := &directoryReader{r: r, left: maxDirectory}
	z, err := zip.NewReader(limited, size)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotBundle, err)
	}
	limited.open = true
	a := &archive{files: make(map[string]*zip.File), size: size}
	for _, f := range z.File {
		limit, known := limits[f.Name]
		switch {
		case !known:
			a.fault("%q does not belong in a bundle", f.Name)
		case a.files[f.Name] != nil:
			a.fault("%s is there twice", f.Name)
		case limit > 0 && f.UncompressedSize64 > uint64(limit):
			a.fault("%s is too large", f.Name)
		case f.Name == ballotsFile && f.UncompressedSize64 > uint64(maxGrowth*size+maxSmall):
			a.fault("%s is larger than sealed ballots can be", f.Name)
		default:
			a.files[f.Name] = f
		}
	}
	if a.files[manifestFile] == nil {
		return nil, fmt.Errorf("%w: it has no %s", ErrNotBundle, manifestFile)
	}
	for _, name := range []string{resultFile, checkpointFile, ballotsFile, openedFile} {
		if a.files[name] == nil {
			a.fault("%s is missing", name)
		}
	}
	return a, nil
}

func (a *archive) fault(format string, args ...any) {
	const enough = 10
	if len(a.faults) < enough {
		a.faults = append(a.faults, fmt.Sprintf(format, args...))
	}
}

// read returns a small file.
func (a *archive) read(name string) ([]byte, error) {
	f := a.files[name]
	if f == nil {
		return nil, fmt.Errorf("%s is missing", name)
	}
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("couldn't open %s: %w", name, err)
	}
	defer func() { _ = r.Close() }() // only read
	data, err := io.ReadAll(io.LimitReader(r, limits[name]+1))
	if err != nil {
		return nil, fmt.Errorf("couldn't read %s: %w", name, err)
	}
	if int64(len(data)) > limits[name] {
		return nil, fmt.Errorf("%s is too large", name)
	}
	return data, nil
}

// lines yields a file's lines, without their ends. A line is good until the next.
func (a *archive) lines(name string) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		f := a.files[name]
		if f == nil {
			yield(nil, fmt.Errorf("%s is missing", name))
			return
		}
		r, err := f.Open()
		if err != nil {
			yield(nil, fmt.Errorf("couldn't open %s: %w", name, err))
			return
		}
		defer func() { _ = r.Close() }() // only read
		// The size in the header decided whether to read at all; hold the file to it.
		in := bufio.NewReaderSize(io.LimitReader(r, int64(f.UncompressedSize64)), maxLine)
		for n := int64(1); ; n++ {
			line, err := in.ReadSlice('\n')
			switch {
			case errors.Is(err, io.EOF) && len(line) == 0:
				return
			case errors.Is(err, io.EOF):
				err = errors.New("it does not end")
			case errors.Is(err, bufio.ErrBufferFull):
				err = errors.New("it is too long")
			}
			if err != nil {
				yield(nil, fmt.Errorf("line %d of %s: %w", n, name, err))
				return
			}
			if !yield(line[:len(line)-1], nil) {
				return
			}
		}
	}
}

// document reads a signed document without checking its signature.
func (a *archive) document(name string) (signed.Document, error) {
	var d signed.Document
	data, err := a.read(name)
	if err != nil {
		return d, err
	}
	if err := json.Unmarshal(data, &d); err != nil {
		return d, fmt.Errorf("%s is not a signed document: %w", name, err)
	}
	return d, nil
}

// payload reads what a document's JWS says without checking the signature: the manifest has to be read
// to find the key that signed it.
func payload[T any](d signed.Document) (*T, []byte, error) {
	parts := strings.Split(d.JWS, ".")
	if len(parts) != 3 {
		return nil, nil, errors.New("it has no JWS")
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, nil, errors.New("its JWS is damaged")
	}
	var v T
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, nil, fmt.Errorf("its payload is damaged: %w", err)
	}
	return &v, raw, nil
}

// sameJSON reports whether two JSON texts say the same, whatever their spacing and escapes.
func sameJSON(a, b []byte) bool {
	decode := func(data []byte) (v any, ok bool) {
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		err := d.Decode(&v)
		return v, err == nil
	}
	va, okA := decode(a)
	vb, okB := decode(b)
	return okA && okB && reflect.DeepEqual(va, vb)
}
