package docserver

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

const (
	fetchTime = 10 * time.Second // for one fetch with all its redirects
	fetchSize = 1 << 20          // bytes of a body
)

// ParseHosts reads a hosts map for [Options.Hosts]: one "host:port
// loopback-address:port" per line, blank lines and # comments aside. An empty
// file gives an empty map, which lets nothing be dialed.
func ParseHosts(r io.Reader) (map[string]string, error) {
	hosts := map[string]string{}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 2 {
			return nil, fmt.Errorf("line %d: want \"host:port loopback-address:port\"", n)
		}
		host := strings.ToLower(fields[0])
		if _, twice := hosts[host]; twice {
			return nil, fmt.Errorf("line %d: %q is mapped twice", n, host)
		}
		if err := checkMapping(host, fields[1]); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		hosts[host] = fields[1]
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	return hosts, nil
}

func checkMapping(host, target string) error {
	name, port, err := net.SplitHostPort(host)
	if err != nil || name == "" || port == "" {
		return fmt.Errorf("%q is not host:port", host)
	}
	if !loopback(target) {
		return fmt.Errorf("%q is not a loopback address with a port", target)
	}
	return nil
}

func loopback(address string) bool {
	a, err := netip.ParseAddrPort(address)
	return err == nil && a.Addr().Unmap().IsLoopback() && a.Port() != 0
}

// newFetcher builds the client of import_url. It never reads proxy settings from
// the environment: a fetch takes exactly the way that the options say.
func newFetcher(o Options) (*http.Client, error) {
	t := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true,
	}
	if o.EgressProxy != nil {
		if o.EgressProxy.Scheme != "http" || o.EgressProxy.Hostname() == "" {
			return nil, errors.New("the egress proxy is not an http URL with a host")
		}
		t.Proxy = http.ProxyURL(o.EgressProxy)
	}
	if o.Hosts != nil {
		dial, err := dialMapped(o.Hosts, o.EgressProxy)
		if err != nil {
			return nil, err
		}
		t.DialContext = dial
	}
	// INTENDED HOLE: without a hosts map any address is dialed, those of the
	// private network and of the cloud's metadata service included (CWE-918).
	return &http.Client{Transport: t, Timeout: fetchTime}, nil
}

type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// dialMapped returns a dialer that reaches only what hosts maps. TLS goes on to
// verify the name in the URL, because only the TCP connection is redirected.
func dialMapped(hosts map[string]string, proxy *url.URL) (dialer, error) {
	known := make(map[string]string, len(hosts)+1)
	for host, target := range hosts {
		if err := checkMapping(host, target); err != nil {
			return nil, fmt.Errorf("hosts map: %w", err)
		}
		known[strings.ToLower(host)] = target
	}
	if proxy != nil && loopback(proxy.Host) {
		known[proxy.Host] = proxy.Host
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		target, ok := known[strings.ToLower(address)]
		if !ok {
			return nil, fmt.Errorf("dial %s: not in the hosts map", address)
		}
		return new(net.Dialer).DialContext(ctx, network, target)
	}, nil
}

func fetch(ctx context.Context, client *http.Client, address string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	// INTENDED HOLE: the caller chooses the URL, and redirects are followed to
	// wherever they lead (CWE-918).
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	if res.StatusCode >= http.StatusBadRequest {
		return "", fmt.Errorf("fetching %q: %s", address, res.Status)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, fetchSize+1))
	if err != nil {
		return "", err
	}
	if len(body) > fetchSize {
		return "", fmt.Errorf("fetching %q: more than %d bytes", address, fetchSize)
	}
	return strings.ToValidUTF8(string(body), "\uFFFD"), nil
}
