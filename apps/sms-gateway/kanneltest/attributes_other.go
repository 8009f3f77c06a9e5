//go:build !linux

package kanneltest

import "syscall"

func attributes() *syscall.SysProcAttr { return nil }
