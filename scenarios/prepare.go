package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
)

// prepare writes the files that servers started by hand need, and prints how to
// start them. It listens nowhere.
func prepare(o options, stdout io.Writer) error {
	f, err := newFolder(o.work)
	if err != nil {
		return err
	}
	direct, behind := f.path("docserver-direct-home"), f.path("docserver-behind-home")
	_, errCA := f.authority()
	_, errService := f.secret(serviceFile)
	_, errIntrospect := f.secret(introspectFile)
	if err := errors.Join(
		errCA, errService, errIntrospect,
		f.write(hostsFile, hostsMap(o.fakes)),
		f.write(outsideFile, []byte(outsideText)),
		f.config(configFile, hostOf(o.proxied), "http://"+o.issuer, atURL(exampleUpstream)),
		placeCanary(direct), placeCanary(behind),
	); err != nil {
		return err
	}
	server := fmt.Sprintf("docserver --reset --hosts %s --ca-file %s", f.path(hostsFile), f.path(caFile))
	_, err = fmt.Fprintf(stdout, "%s --scratch %s --listen %s\n%s --scratch %s --listen %s --service-token-file %s\n"+
		"mcp-sidecar serve -c %s\nscenarios --work %s --issuer %s --fakes %s --direct %s --proxied %s\n",
		server, direct, hostOf(o.direct),
		server, behind, hostOf(exampleUpstream), f.path(serviceFile),
		f.path(configFile), f, o.issuer, o.fakes, o.direct, o.proxied)
	return err
}

// hostOf returns HOST:PORT of a URL that was checked before.
func hostOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	return u.Host
}
