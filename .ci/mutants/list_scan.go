package main

// Of asking the guards without a sidecar.
var scanMutants = []mutant{
	scanMutant("lines", "a line that cannot be read is no failure", "proxy/cli/scan.go", "answer, bad = unscanned{err.Error(), n}, true", "answer = unscanned{err.Error(), n}", "./proxy/cli"),
	scanMutant("lines", "an answer waits for the next", "proxy/cli/scan.go", "errors.Join(answers.Encode(answer), out.Flush())", "answers.Encode(answer)", "./proxy/cli"),
	scanMutant("lines", "any length", "proxy/cli/scan.go", "len(line)+len(part) > maxScanLine+1", "false", "./proxy/cli"),
	scanMutant("lines", "null is a text", "proxy/cli/scan.go", "len(raw) == 0 || raw[0] != '\"' || ", "", "./proxy/cli"),
	scanMutant("lines", "bytes that are no text", "proxy/cli/scan.go", "if !utf8.Valid(line) {", "if !utf8.Valid(line[:0]) {", "./proxy/cli"),
	scanMutant("servers", "findings are no exit code", "proxy/cli/scanserver.go", "if len(reports) > 0 {", "if false {", "./proxy/cli"),
	scanMutant("servers", "a list that fails is empty", "proxy/sidecar/listing.go", "if err != nil && !errors.Is(err, errNoMethod) {", "if false {", "./proxy/cli"),
	scanMutant("servers", "one page", "proxy/sidecar/listing.go", "if m.Text(next) == \"\" {", "if true {", "./proxy/cli"),
	scanMutant("servers", "names are not read", "proxy/scan/offer.go", "				see(pointer+\"/\"+at, \"\", name)\n", "", "./proxy/scan"),
	scanMutant("servers", "what is bounded is reported", "proxy/scan/offer.go", "if s.Bound != nil && s.Bound(name, arg) {", "if false {", "./proxy/scan"),
	scanMutant("servers", "no bound of depth", "proxy/scan/offer.go", "if depth == maxDepth {", "if false {", "./proxy/scan"),
	scanMutant("servers", "names that look alike", "proxy/scan/offer.go", "case text.IsVariant(name, other):", "case false:", "./proxy/scan"),
	scanMutant("servers", "parts of words", "proxy/scan/offer.go", "(at == 0 || !part(s[at-1])) && ", "", "./proxy/scan"),
}

func scanMutant(area, name, file, was, now, pkg string) mutant {
	return mutant{name: "scan of " + area + ": " + name, file: file, old: was, new: now, pkgs: []string{pkg}, run: "Scan|Servers|Init"}
}
