package service

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Stamped by the Makefile with -ldflags "-X github.com/popvote/popvote/libs/service.version=… -X ….revision=…":
// there is no root module whose version the toolchain could tell.
var (
	version  = "dev"
	revision = ""
)

// Info says what program is running.
type Info struct {
	// Version is the release ("v1.2.3"), or "dev".
	Version string `json:"version"`
	// Revision is the VCS revision, with "+dirty" behind it where the tree had changes; "unknown"
	// in a build that was told none.
	Revision string `json:"revision"`
	// Go is the version of the toolchain.
	Go string `json:"go"`
	// Platform is operating system and architecture ("linux/amd64").
	Platform string `json:"platform"`
}

// Version returns what this binary was built from.
func Version() Info {
	build, _ := debug.ReadBuildInfo()
	return info(version, revision, build)
}

func info(version, revision string, build *debug.BuildInfo) Info {
	out := Info{Version: version, Revision: revision, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if out.Revision == "" && build != nil {
		dirty := ""
		for _, setting := range build.Settings {
			switch {
			case setting.Key == "vcs.revision":
				out.Revision = setting.Value
			case setting.Key == "vcs.modified" && setting.Value == "true":
				dirty = "+dirty"
			}
		}
		if out.Revision != "" {
			out.Revision += dirty
		}
	}
	if out.Revision == "" {
		out.Revision = "unknown"
	}
	return out
}

func (i Info) String() string {
	return fmt.Sprintf("%s (%s, %s, %s)", i.Version, i.Revision, i.Go, i.Platform)
}
