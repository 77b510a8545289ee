package main

// Of exceptions from guards.
var exceptMutants = []mutant{
	exceptMutant("expired ones count", "proxy/pipeline/except.go", "now.Before(e.Until)", "(now.Before(e.Until) || true)", "./proxy/sidecar"),
	exceptMutant("any rule of the guard", "proxy/pipeline/except.go", "e.Guard == guard && e.Rule == rule", "e.Guard == guard", "./proxy/sidecar"),
	exceptMutant("every tool", "proxy/sidecar/endpoint.go", "		r := rules[name]\n		r.Exceptions = append", "		r := rules[\"update_document\"]\n		r.Exceptions = append", "./proxy/sidecar"),
	exceptMutant("of one definition for all", "proxy/pipeline/lists.go", "o.exceptions(p.opts.Rules[m.Text(m.Member(e, l.id))])", "o.exceptions(p.opts.Rules[\"read_document\"])", "./proxy/sidecar"),
	exceptMutant("not recorded", "proxy/pipeline/record.go", "Excepted: c.Excepted, ", "", "./proxy/sidecar"),
	exceptMutant("own credentials", "proxy/config/exception.go", "\"guard-budget\", \"unredactable\", \"credential\", \"schema\"", "\"guard-budget\", \"unredactable\", \"schema\"", "./proxy/config"),
	exceptMutant("budgets", "proxy/config/exception.go", "\"guard-budget\", \"unredactable\"", "\"unredactable\"", "./proxy/config"),
	exceptMutant("no end", "proxy/config/exception.go", "if time.Time(e.Until).IsZero() {", "if false {", "./proxy/config"),
	exceptMutant("expired ones are not named", "proxy/config/exception.go", "if !now.Before(time.Time(e.Until)) {", "if now.Before(time.Time(e.Until)) {", "./proxy/cli"),
	exceptMutant("a secret that is let be covers others", "guards/secrets/scan.go", "func (c *scanner) add(rule string, start, end int) {\n\tif c.except.Has(rule) {", "func (c *scanner) add(rule string, start, end int) {\n\tif c.except.Has(rule) {\n\t\tc.exactEnd = max(c.exactEnd, end)", "./guards/secrets"),
	exceptMutant("one block lets the rest of a URL be", "guards/ssrf/url.go", "case p.scheme != \"https\" && p.scheme != \"\" && !except.Has(RuleScheme):", "case p.scheme != \"https\" && p.scheme != \"\" && except.Has(RuleScheme):\n\t\treturn nil\n\tcase p.scheme != \"https\" && p.scheme != \"\":", "./guards/ssrf"),
	exceptMutant("http has the port of https", "guards/ssrf/url.go", "		n = 80\n", "		n = 443\n", "./guards/ssrf"),
	exceptMutant("answers of the DNS", "guards/ssrf/resolve.go", "return Rule{Except: except}.unless(b)", "if except != nil {\n\t\treturn nil\n\t}\n\treturn b", "./guards/ssrf"),
	exceptMutant("one rule of an argument lets the next be", "guards/argument/argument.go", "!r.Pattern.MatchString(value) && !r.Except.Has(RulePattern):", "!r.Pattern.MatchString(value) && r.Except.Has(RulePattern):\n\t\treturn \"\", \"\"\n\tcase r.Pattern != nil && !r.Pattern.MatchString(value):", "./guards/argument"),
	exceptMutant("one marker lets the next be", "guards/marker/marker.go", "rule != \"\" && !except.Has(rule) {", "rule != \"\" {\n\t\t\tif except.Has(rule) {\n\t\t\t\treturn \"\", 0\n\t\t\t}", "./proxy/sidecar"),
}

func exceptMutant(name, file, was, now, pkg string) mutant {
	return mutant{name: "exceptions: " + name, file: file, old: was, new: now, pkgs: []string{pkg}, run: "Except|Validate|BadFiles"}
}
