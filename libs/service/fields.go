package service

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// field is one key of a configuration struct, named as in the YAML file ("admin.address").
type field struct {
	path  string
	doc   string
	value reflect.Value
}

var (
	durationType    = reflect.TypeFor[time.Duration]()
	unmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// fieldsOf walks the struct that config points to. Every field needs a koanf tag, its key, and a doc
// tag: unit, default and consequence. A struct that breaks this is a bug, hence the panic.
func fieldsOf(config any) []field {
	pointer := reflect.ValueOf(config)
	if pointer.Kind() != reflect.Pointer || pointer.Elem().Kind() != reflect.Struct {
		panic(fmt.Sprintf("service: a configuration is a pointer to a struct, not %T", config))
	}
	return walk(nil, "", pointer.Elem())
}

func walk(fields []field, prefix string, structure reflect.Value) []field {
	for i := range structure.NumField() {
		kind := structure.Type().Field(i)
		path, doc := prefix+kind.Tag.Get("koanf"), kind.Tag.Get("doc")
		if path == prefix {
			panic(fmt.Sprintf("service: %s.%s has no koanf tag", structure.Type(), kind.Name))
		}
		value := structure.Field(i)
		if value.Kind() == reflect.Struct && !reflect.PointerTo(value.Type()).Implements(unmarshalerType) {
			fields = walk(fields, path+".", value)
			continue
		}
		if doc == "" {
			panic(fmt.Sprintf("service: %s.%s has no doc tag", structure.Type(), kind.Name))
		}
		fields = append(fields, field{path, doc, value})
	}
	return fields
}

// holds says whether the key is the field's, or below it where the field is a map.
func (f field) holds(key string) bool {
	return key == f.path || f.value.Kind() == reflect.Map && strings.HasPrefix(key, f.path+".")
}

// environment is the name of the variable for the field.
func (f field) environment(prefix string) string {
	return prefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(f.path))
}

// flag is the name of the field's flag.
func (f field) flag() string { return strings.ReplaceAll(f.path, ".", "-") }

// parse reads what a flag or a variable says as what the YAML file would hold there. Anything with a
// text form of its own (durations, addresses) stays text for the decoder.
func (f field) parse(text string) (any, error) {
	if f.value.Type() == durationType || reflect.PointerTo(f.value.Type()).Implements(unmarshalerType) {
		return text, nil
	}
	switch f.value.Kind() {
	case reflect.String:
		return text, nil
	case reflect.Bool:
		yes, err := strconv.ParseBool(text)
		if err != nil {
			return nil, fmt.Errorf("%q is neither true nor false", text)
		}
		return yes, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		number, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is not a whole number", text)
		}
		return number, nil
	case reflect.Float32, reflect.Float64:
		number, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is not a number", text)
		}
		return number, nil
	case reflect.Slice:
		list := []string{}
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				list = append(list, part)
			}
		}
		return list, nil
	default:
		return nil, fmt.Errorf("it can only be given in the file")
	}
}

// usage is the field's line of help.
func (f field) usage() string {
	if f.value.IsZero() {
		return f.doc
	}
	return fmt.Sprintf("%s (default %v)", f.doc, f.value.Interface())
}
