package main

import (
	"runtime"

	"golang.org/x/sys/cpu"

	"github.com/meshsec/meshsec/ipsec"
)

// ciphers are this host's, the preferred one first: AES-GCM in software is several times slower than ChaCha20-Poly1305, and
// not constant in time.
func ciphers() []ipsec.Cipher {
	fast := cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ || cpu.ARM64.HasAES && cpu.ARM64.HasPMULL || cpu.ARM.HasAES && cpu.ARM.HasPMULL
	if fast && runtime.GOARCH != "arm" { // the standard library has no AES assembly for 32-bit ARM
		return []ipsec.Cipher{ipsec.AES256GCM, ipsec.ChaCha20Poly1305}
	}
	return []ipsec.Cipher{ipsec.ChaCha20Poly1305, ipsec.AES256GCM}
}
