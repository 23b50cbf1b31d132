package engine

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// API is a version of the engine's API. It tells what an engine can do, unlike the engine's own
// version, which distributions and builds from source choose themselves. The zero value is unknown.
type API struct{ Major, Minor int }

// String returns the version as Docker writes it, such as 1.56, or nothing if it is unknown.
func (a API) String() string {
	if a == (API{}) {
		return ""
	}
	return fmt.Sprintf("%d.%d", a.Major, a.Minor)
}

// ParseAPI reads what String returns. Any other text is an unknown version.
func ParseAPI(text string) API {
	major, minor, _ := strings.Cut(text, ".")
	x, err := strconv.Atoi(major)
	y, err2 := strconv.Atoi(minor)
	if err != nil || err2 != nil || x < 0 || y < 0 {
		return API{}
	}
	return API{x, y}
}

// Less reports whether a is older than b.
func (a API) Less(b API) bool {
	return cmp.Or(cmp.Compare(a.Major, b.Major), cmp.Compare(a.Minor, b.Minor)) < 0
}

// The first versions whose engines do something.
var (
	// NamesInterfaces: they honour the interface name that a plugin's driver answers to Join
	// (moby/moby#52866, Docker 29.8). Engines before it drop the name.
	NamesInterfaces = API{1, 56}
	// HidesConfigPools: they list only pools that are allocated, and so none of a configuration
	// (Docker 29.0).
	HidesConfigPools = API{1, 52}
)

// Version is what an engine says about itself.
type Version struct {
	Engine string // such as 29.7.2 or 20.10.24+dfsg1; "library-import" of builds from source
	API    API    // the newest that it speaks
}

// String describes the engine in `meshsec status`.
func (v Version) String() string {
	return fmt.Sprintf("%s, API %v", cmp.Or(v.Engine, "version not told"), v.API)
}

// released matches the versions of the 29 series as Docker releases them. Other suffixes are those
// of distributions, which mend a release without changing its number.
var released = regexp.MustCompile(`^29\.(\d+)\.(\d+)$`)

// Flaw describes what is wrong with a release of the 29 series before 29.3.1, and is empty for all
// engines that are newer or that it does not recognise.
func (v Version) Flaw() string {
	n := released.FindStringSubmatch(v.Engine)
	if n == nil {
		return ""
	}
	minor, _ := strconv.Atoi(n[1])
	patch, _ := strconv.Atoi(n[2])
	if minor > 3 || minor == 3 && patch >= 1 {
		return ""
	}
	return fmt.Sprintf("Docker %s may grant a plugin other privileges than were approved at its installation "+
		"(GO-2026-4883, CVE-2026-33997); upgrade Docker to 29.3.1 or later", v.Engine)
}

// Version asks for the engine's version. No lock of Docker's keeps the answer back.
func (c *Client) Version(ctx context.Context) (Version, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	header, err := c.ping(ctx)
	if err != nil {
		return Version{}, err
	}
	v := Version{API: ParseAPI(header.Get("Api-Version"))}
	if name, ok := strings.CutPrefix(header.Get("Server"), "Docker/"); ok {
		v.Engine, _, _ = strings.Cut(name, " ")
	}
	if v.API == (API{}) {
		return v, fmt.Errorf("Docker's API: ping: its version is %q", header.Get("Api-Version"))
	}
	return v, nil
}
