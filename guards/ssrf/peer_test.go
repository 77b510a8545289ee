package ssrf

import (
	"context"
	"errors"
	"net"
	"testing"
)

// The socket itself is refused an address that is not public, whatever was judged
// before.
func TestPeerIsVetted(t *testing.T) {
	for address, ok := range map[string]bool{
		"93.184.215.14:443": true, "[2606:4700:4700::1111]:443": true,
		"127.0.0.1:443": false, "[::1]:443": false, "10.0.0.1:443": false, "[::ffff:10.0.0.1]:443": false, "[fe80::1%1]:443": false, "x": false,
	} {
		if err := vetPeer("tcp", address, nil); (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
	}
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	var refused *Refused
	if _, err := (&Dialer{}).connect(context.Background(), "tcp", server.Addr().String()); !errors.As(err, &refused) {
		t.Errorf("the system's dialer connected to loopback: %v", err)
	}
}
