package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"text/template"
)

// catalogued is an instance of a service as templates of jobs see it.
type catalogued struct {
	ID          string
	Address     string
	Port        int
	Tags        []string
	ServiceMeta map[string]string
}

// render fills in a job's template as Nomad does, with those functions that HAProxy's has; another one is
// an error, and so is a variable that is not there. find gives a service's instances that pass their
// checks, or of "name|any" all.
func render(text string, env map[string]string, find func(service string) ([]catalogued, error)) ([]byte, error) {
	t, err := template.New("job").Option("missingkey=error").Funcs(template.FuncMap{
		"env": func(name string) (string, error) {
			value, there := env[name]
			if !there {
				return "", fmt.Errorf("there is no variable %s", name)
			}
			return value, nil
		},
		"service":   find,
		"contains":  func(one string, all []string) bool { return slices.Contains(all, one) },
		"parseJSON": func(text string) (value any, err error) { return value, json.Unmarshal([]byte(text), &value) },
	}).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the template: %w", err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, nil); err != nil {
		return nil, fmt.Errorf("couldn't fill in the template: %w", err)
	}
	return out.Bytes(), nil
}

// find asks Consul.
func (c *cluster) find(service string) ([]catalogued, error) {
	name, all := strings.CutSuffix(service, "|any")
	entries, _, err := c.consul.Health().Service(name, "", !all, nil)
	if err != nil {
		return nil, fmt.Errorf("couldn't ask Consul for %s: %w", service, err)
	}
	var found []catalogued
	for _, e := range entries {
		found = append(found, catalogued{e.Service.ID, e.Service.Address, e.Service.Port, e.Service.Tags, e.Service.Meta})
	}
	return found, nil
}
