package ssrf

import (
	"net/netip"
	"strconv"
	"strings"

	"code.dny.dev/ssrf"

	"mcp-sidecar/guards"
)

// guardian knows the IANA special-purpose registries. The one address added is
// Azure's wire server: it lies in a public range and answers like a metadata
// service from inside every virtual machine.
var guardian = ssrf.New(
	ssrf.WithAnyPort(),
	ssrf.WithDeniedV4Prefixes(netip.MustParsePrefix("168.63.129.16/32")),
)

// Reserved reports whether a is anything but a public unicast address. The zero
// Addr, zones, and IPv6 forms that carry an IPv4 address (mapped, NAT64, 6to4,
// Teredo) are reserved.
func Reserved(a netip.Addr) bool {
	return !a.IsValid() || guardian.SafeAddr(a) != nil
}

func refuseAddr(a netip.Addr) *guards.Block {
	return refuse(RuleReserved, reservedText(a))
}

func reservedText(a netip.Addr) string {
	return "blocked internal/reserved address " + a.String()
}

// endsInNumber is the WHATWG rule for what is an IPv4 address: the last label
// consists of digits or is a hexadecimal number. No top-level domain does.
func endsInNumber(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return last != "" && strings.Trim(last, "0123456789") == ""
}

// readIPv4 reads name as inet_aton does: one to four numbers, decimal, octal
// (0177) or hexadecimal (0x7f), of which the last fills the remaining bytes. A
// reading that is out of range is no address here; such a host is refused for
// its form.
func readIPv4(name string) (netip.Addr, bool) {
	labels := strings.Split(name, ".")
	if len(labels) > 4 {
		return netip.Addr{}, false
	}
	var addr uint64
	for i, label := range labels {
		n, ok := readNumber(label)
		bytes := 1
		if i == len(labels)-1 {
			bytes = 4 - i
		}
		if !ok || n >= 1<<(8*bytes) {
			return netip.Addr{}, false
		}
		addr = addr<<(8*bytes) | n
	}
	return netip.AddrFrom4([4]byte{byte(addr >> 24), byte(addr >> 16), byte(addr >> 8), byte(addr)}), true
}

func readNumber(label string) (uint64, bool) {
	base := 10
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		if hex == "" { // WHATWG reads a bare 0x as zero
			return 0, true
		}
		label, base = hex, 16
	} else if len(label) > 1 && label[0] == '0' {
		base = 8
	}
	n, err := strconv.ParseUint(label, base, 64)
	return n, err == nil
}
