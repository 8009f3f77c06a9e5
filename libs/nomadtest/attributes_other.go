//go:build !linux

package nomadtest

import "syscall"

func attributes() *syscall.SysProcAttr { return nil }
