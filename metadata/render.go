package metadata

import (
	"fmt"
	"maps"
	"math"
	"mime"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// The formats of an answer, by the media type in Accept; the first is for those who name none of them.
const (
	formatText = "text/plain"
	formatJSON = "application/json"
	formatYAML = "application/yaml"
)

// mediaTypes are the names of the formats; RFC 9512 has the one for YAML.
var mediaTypes = map[string]string{
	"text/plain": formatText, "text/*": formatText, "*/*": formatText, "application/json": formatJSON, "application/*": formatJSON,
	"application/yaml": formatYAML, "application/x-yaml": formatYAML, "text/yaml": formatYAML, "text/x-yaml": formatYAML,
}

// formatOf chooses by an Accept header (RFC 9110, section 12.5.1): the best quality, of equals the first.
func formatOf(accept string) string {
	best, format := 0.0, formatText
	for part := range strings.SplitSeq(accept, ",") {
		media, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		quality := 1.0
		if q, ok := params["q"]; ok {
			if quality, err = strconv.ParseFloat(q, 64); err != nil {
				continue
			}
		}
		if f, ok := mediaTypes[media]; ok && quality > best {
			best, format = quality, f
		}
	}
	return format
}

// render writes a value, or says errTooLong.
func render(value any, format string) ([]byte, error) {
	var w writer
	switch {
	case format == formatJSON:
		w.json(value)
		w.b.WriteByte('\n')
	case format == formatYAML:
		w.yaml(value, "")
	case slash(value) == "":
		_, _ = fmt.Fprint(&w.b, value)
	default:
		for _, line := range lines(value, math.MaxInt) {
			w.b.WriteString(line)
			w.b.WriteByte('\n')
		}
		w.full()
	}
	return w.b.Bytes(), w.err
}

// lines are the parts of a node or list as text, so many at most: those that have parts themselves end in a slash, and those
// of a list that have a name show it beside their number.
func lines(value any, most int) []string {
	out := []string{}
	switch x := value.(type) {
	case node:
		for _, name := range slices.Sorted(maps.Keys(x)) {
			out = append(out, name+slash(x[name]))
		}
	case list:
		for i, part := range x {
			if m, ok := part.(node); ok {
				if name, _ := m["name"].(string); name != "" {
					out = append(out, numbered(i, name))
					continue
				}
			}
			out = append(out, strconv.Itoa(i)+slash(part))
		}
	case *many:
		for i := range min(x.n, most) {
			if name := x.name(i); name != "" {
				out = append(out, numbered(i, name))
			} else {
				out = append(out, strconv.Itoa(i)+"/")
			}
		}
	}
	return out[:min(len(out), most)]
}

func numbered(i int, name string) string { return strconv.Itoa(i) + "=" + url.QueryEscape(name) }

func slash(value any) string {
	switch value.(type) {
	case node, list, *many, lazy:
		return "/"
	}
	return ""
}
