package main

import (
	"context"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/net/dns/dnsmessage"
)

// nameserver answers for the demo's names over UDP, as their owners would have it: a name with
// several addresses gives them one after the other, and then the last for ever (DNS rebinding).
type nameserver struct {
	addr string
	conn net.PacketConn

	mu sync.Mutex
	of map[string][]netip.Addr
}

func startNameserver(ctx context.Context, of map[string][]netip.Addr) (*nameserver, error) {
	conn, err := new(net.ListenConfig).ListenPacket(ctx, "udp", anyPort)
	if err != nil {
		return nil, err
	}
	n := &nameserver{addr: conn.LocalAddr().String(), conn: conn, of: of}
	go n.serve()
	return n, nil
}

func (n *nameserver) serve() {
	query := make([]byte, 1500)
	for {
		size, from, err := n.conn.ReadFrom(query)
		if err != nil {
			return // closed
		}
		if answer, err := n.answer(query[:size]); err == nil {
			_, _ = n.conn.WriteTo(answer, from) // who hears nothing asks again
		}
	}
}

// answer is that to one query. Names have IPv4 addresses only.
func (n *nameserver) answer(query []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil || len(m.Questions) != 1 {
		return nil, err
	}
	q := m.Questions[0]
	answer := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: m.ID, Response: true, RecursionDesired: m.RecursionDesired, RecursionAvailable: true},
		Questions: m.Questions,
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	name := q.Name.String()
	addrs, known := n.of[name]
	switch {
	case !known:
		answer.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		answer.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class},
			Body:   &dnsmessage.AResource{A: addrs[0].As4()},
		}}
		if len(addrs) > 1 {
			n.of[name] = addrs[1:]
		}
	}
	return answer.Pack()
}

func (n *nameserver) close() { _ = n.conn.Close() }
