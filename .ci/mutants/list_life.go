package main

// lifeMutants weaken what browsers, certificates and probes are told, and how the
// sidecar starts and ends.
var lifeMutants = []mutant{
	{name: "cors: any origin reads answers", file: "proxy/front/cors.go", old: `origin != "" && h.originAllowed(r)`, new: `origin != ""`, pkgs: frontTests, run: "Preflight|Pages"},
	{name: "cors: a preflight passes before its origin is known", file: "proxy/front/http.go", old: "\tcase isPreflight(r):\n\t\treturn nil\n", new: "", pkgs: frontTests, run: "Preflight|Pages"},
	{name: "cors: a refused preflight is answered", file: "proxy/front/http.go", old: "if refused == nil && isPreflight(r) {", new: "if isPreflight(r) {", pkgs: frontTests, run: "Preflight|Pages"},
	{name: "cors: caches mix origins", file: "proxy/front/cors.go", old: "\thead.Add(\"Vary\", \"Origin\")\n", new: "", pkgs: frontTests, run: "Preflight|Pages"},
	{name: "cors: any header is allowed", file: "proxy/front/cors.go", old: "ok && isToken(param)", new: "isToken(name) || ok && param != \"\"", pkgs: frontTests, run: "Preflight|Pages|ParamHeaders"},
	{name: "hosts: TLS has the port of plain HTTP", file: "proxy/front/origin.go", old: "if r.TLS != nil {", new: "if false {", pkgs: frontTests, run: "Hosts"},
}
