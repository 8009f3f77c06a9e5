//go:build !linux

package consultest

import "syscall"

func attributes() *syscall.SysProcAttr { return nil }
