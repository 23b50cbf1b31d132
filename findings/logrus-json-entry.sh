#!/usr/bin/env bash
# github.com/sirupsen/logrus v1.10.2: a field whose value JSON cannot encode, such as a map whose keys are
# structs, costs the whole entry under JSONFormatter: message, level and all other fields. A line on
# standard error says so, the call returns nothing, and the program goes on. TextFormatter prints the same
# entry, so programs that are tested with text lose entries only where machines read the log. A String
# method does not help, as JSON does not use it.
#
# Seen with Go 1.26. Needs Go.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >go.mod <<'END'
module finding

go 1.26

require github.com/sirupsen/logrus v1.10.2
END
cat >main.go <<'END'
package main

import (
	"os"

	"github.com/sirupsen/logrus"
)

type key struct{ Net, Addr string }

type named map[key]int

func (named) String() string { return "named" }

func main() {
	for _, f := range []logrus.Formatter{&logrus.TextFormatter{DisableTimestamp: true}, &logrus.JSONFormatter{DisableTimestamp: true}} {
		log := &logrus.Logger{Out: os.Stdout, Formatter: f, Level: logrus.InfoLevel, Hooks: logrus.LevelHooks{}}
		log.WithField("leases", map[key]int{{"a", "b"}: 1}).Error("map")
		log.WithField("leases", named{{"a", "b"}: 1}).Error("map with String")
		log.WithField("leases", 1).Error("number")
	}
}
END
go mod tidy >/dev/null 2>&1
go run . >seen 2>complaints
cat seen complaints
diff seen - <<'END'
level=error msg=map leases="map[{a b}:1]"
level=error msg="map with String" leases=named
level=error msg=number leases=1
{"leases":1,"level":"error","msg":"number"}
END
[ "$(grep -c '^Failed to format entry' complaints)" = 2 ]
echo 'as found'
