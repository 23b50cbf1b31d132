#!/usr/bin/env bash
# github.com/google/nftables v0.3.0: SetAddElements and AddSet put all elements of a call into one
# netlink attribute, whose length has 16 bits. Beyond 64 KiB the length wraps. The library returns no
# error, nor does the kernel, which adds as many elements as the wrapped length holds: of 4,100 IPv4
# addresses it adds 4, of 5,000 it adds 904. Calls of at most 1,000 elements are safe.
#
# Seen with Linux 6.18 and Go 1.26. Needs root, Go and util-linux; works in a network namespace of its own.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >go.mod <<'END'
module finding

go 1.26

require github.com/google/nftables v0.3.0
END
cat >main.go <<'END'
package main

import (
	"encoding/binary"
	"fmt"
	"log"

	"github.com/google/nftables"
)

func main() {
	c, err := nftables.New()
	if err != nil {
		log.Fatal(err)
	}
	for _, n := range []int{1000, 4095, 4100, 5000} {
		table := c.AddTable(&nftables.Table{Name: fmt.Sprint("t", n), Family: nftables.TableFamilyINet})
		set := &nftables.Set{Table: table, Name: "s", KeyType: nftables.TypeIPAddr}
		var elements []nftables.SetElement
		for i := range n {
			key := binary.BigEndian.AppendUint32(nil, 10<<24+uint32(i))
			elements = append(elements, nftables.SetElement{Key: key})
		}
		added := c.AddSet(set, elements)
		flushed := c.Flush()
		there, err := c.GetSetElements(set)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d added, errors %v and %v, %d in the kernel\n", n, added, flushed, len(there))
	}
}
END
go mod tidy >/dev/null 2>&1
go build -o finding .
unshare --net ./finding | tee seen
diff seen - <<'END'
1000 added, errors <nil> and <nil>, 1000 in the kernel
4095 added, errors <nil> and <nil>, 4095 in the kernel
4100 added, errors <nil> and <nil>, 4 in the kernel
5000 added, errors <nil> and <nil>, 904 in the kernel
END
echo 'as found'
