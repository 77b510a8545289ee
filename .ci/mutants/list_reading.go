package main

// Of reading texts: what is hidden or encoded in them, what a model makes of them, what a
// command line would.
var readingMutants = []mutant{
	askMutant("the model is not asked", "if score < least || score <= s.score {", "if score < 2*least || score <= s.score {"),
	askMutant("names are read", "if t.Kind == guards.Metadata {", "if false {"),
	askMutant("the model speaks beside a signature", "		s.first[suspected].end = 0\n", ""),
	featureMutant("said again, worse", "place[0].three == three && ", "place[0].three != three && "),
	modelMutant("windows do not slide", "sum, count = sum+at-sums[slot], count+t.n-counts[slot]", "sum, count = sum+at, count+t.n"),
	modelMutant("only the last window", "; v > best {", "; v > -1e9 {"),
	{name: "injection model: long texts", file: "guards/injection/model.go", old: "logistic(best - Discount(n))", new: "logistic(best)", pkgs: []string{"./bench"}, run: "TestProse"},
	modelMutant("any file", "len(b) != head+Buckets || ", "len(b) < head+Buckets || "),
	hiddenCharacters("tags are flags", "if c.flag(start, end) {", "if true {"),
	hiddenCharacters("any tags spell a flag", "before != black || ", "before == 0 || "),
	hiddenCharacters("directions that are not closed", "if bidi.closed[start] {", "if true {"),
	hiddenCharacters("overrides that are closed", "if !open[n-1].turns {", "if true {"),
	hiddenCharacters("lines do not end directions", "case r == '\\n' || r == '\\r' || r == 0x2029:", "case false:"),
	hiddenCharacters("characters without width inside words", "return !(alphabetic(before) && alphabetic(after))", "return true"),
	hiddenCharacters("rows of them", "	if utf8.RuneCountInString(run) > 1 {\n\t\treturn false\n\t}\n\tbefore, after := c.around(start, end)\n\tswitch r, _ := utf8.DecodeRuneInString(run); {\n\tcase r == 0xad", "	before, after := c.around(start, end)\n\tswitch r, _ := utf8.DecodeRuneInString(run); {\n\tcase r == 0xad"),
	hiddenCharacters("rows of selectors", "	if utf8.RuneCountInString(c.text[start:end]) > 1 {\n\t\treturn false\n\t}\n\tbefore, _ :=", "	before, _ :="),
	hiddenCharacters("returns", "if end < len(s) && s[end] != '\\n' { // writes", "if false { // writes"),
	hiddenCharacters("escapes in one character", "r == 0x90 || r == 0x9b || ", ""),
	hiddenCharacters("as long as the row", "if n == maxShown {", "if false {"),
	{name: "hidden characters: the guard is not there", file: "guards/terminal/terminal.go", old: "if t.Kind == guards.Binary {", new: "if true {", pkgs: []string{"./proxy/sidecar"}, run: "Coverage$"},
	{name: "hidden characters: in records", file: "proxy/sidecar/secret.go", old: "	clean, _ = terminal.Reveal(clean)\n", new: "	_ = terminal.Name\n", pkgs: []string{"./proxy/sidecar"}, run: "LogsHideNothing"},
	{name: "hidden characters: in what children write", file: "proxy/sidecar/shown.go", old: "	clean, _ = terminal.Reveal(clean) // it", new: "	_ = terminal.Name // it", pkgs: []string{"./proxy/sidecar"}, run: "LogsHideNothing"},
	{name: "hidden characters: written back", file: "guards/marker/marker.go", old: "	case isRevealed(rest):\n\t\treturn RuleRevealed\n", new: "", pkgs: []string{"./guards/marker"}, run: "."},
	{name: "input secrets: enforced by default", file: "proxy/sidecar/build.go", old: "guardMode(s.cfg.Guards.InputSecrets, guards.Observe)", new: "guardMode(s.cfg.Guards.InputSecrets, preset)", pkgs: []string{"./proxy/sidecar"}, run: "InputSecrets"},
	{name: "input secrets: the tool's own mode", file: "proxy/sidecar/build.go", old: "secrets.InputName: g.InputSecrets, ", new: "", pkgs: []string{"./proxy/sidecar"}, run: "InputSecrets"},
	{name: "input secrets: names of arguments", file: "guards/secrets/input.go", old: "found = find(a.Name, nil, c.Except)", new: "found = find(a.Name[:0], nil, c.Except)", pkgs: []string{"./guards/secrets"}, run: "InputGuard"},
	{name: "input secrets: prompts, addresses and answers", file: "proxy/sidecar/endpoint.go", old: "		Said:          []guards.Input{secrets.InputGuard{}},\n", new: "", pkgs: []string{"./proxy/sidecar"}, run: "InputSecrets"},
	{name: "input secrets: answers inside a call", file: "proxy/pipeline/inspect_input.go", old: "if c.method.kind != aTool || name == \"inputResponses\" {", new: "if c.method.kind != aTool {", pkgs: []string{"./proxy/sidecar"}, run: "InputSecrets"},
	{name: "input secrets: answers to a server", file: "proxy/pipeline/inspect_input.go", old: "	show(c.Msg.Result, \"result\")\n", new: "", pkgs: []string{"./proxy/sidecar"}, run: "InputSecrets"},
	{name: "input secrets: no second answer", file: "proxy/pipeline/inspect_input.go", old: "	if err != nil && c.pending != nil {", new: "	if false {", pkgs: []string{"./proxy/sidecar"}, run: "InputSecrets"},
	{name: "stream: goes on behind a secret that was split", file: "proxy/pipeline/execute.go", old: "		return err // what came before cannot be recalled; the rest is withheld\n", new: "		c.dropped++\n\t\treturn nil\n", pkgs: []string{"./proxy/sidecar"}, run: "SplitSecret"},
	{name: "input secrets: found is no block", file: "guards/secrets/input.go", old: "if len(d.Findings) > 0 {", new: "if false {", pkgs: []string{"./guards/secrets"}, run: "InputGuard"},
	encodedMutant("Base64 and hexadecimal", "	c.packed()\n", ""),
	encodedMutant("escapes", "	c.escaped()\n", ""),
	encodedMutant("one inside another", "	d.encoded()\n", ""),
	encodedMutant("without an end", "if c.depth == maxDepth {", "if c.depth == 99 {"),
	packedMutant("the alphabet for URLs", "			in[n] = '+'\n", "			in[n] = c\n"),
	encodedMutant("characters that show nothing", "			return -1, width", "			return r, width"),
	encodedMutant("entities", "if end < 2 {", "if true {"),
	encodedMutant("places", "start, end := at[f.start], at[f.end]", "start, end := f.start, f.end"),
	{name: "free arguments: nothing is bound", file: "proxy/sidecar/build.go", old: "if a.Enum != nil || a.Command {", new: "if a.Enum != nil {", pkgs: []string{"./proxy/sidecar"}, run: "FreeArguments"},
	{name: "free arguments: dashes", file: "guards/command/command.go", old: "	if startsWithDash(strings.TrimLeft(value, \" \\t\")) && ", new: "	if false && ", pkgs: []string{"./proxy/sidecar"}, run: "FreeArguments"},
	{name: "free arguments: what was found passes", file: "guards/command/command.go", old: "		if !except.Has(f.Rule) {\n\t\t\treturn refuse(f.Rule", new: "		if false {\n\t\t\treturn refuse(f.Rule", pkgs: []string{"./proxy/sidecar"}, run: "FreeArguments"},
	freeMutant("escapes", "next := unescape(reading)", "next := reading"),
	statementMutant("words of the language are commands", "return argument(rest) || windowsNet(name, rest)", "return true"),
	freeMutant("edges", "	f.edges()\n", ""),
	freeMutant("disguises", "	f.disguised()\n", ""),
	freeMutant("code", "	f.code()\n", ""),
	freeMutant("options", "	f.option()\n", ""),
	optionMutant("typographic dashes", "if s[0] != '-' { // as", "if false { // as"),
	freeMutant("no budget", "if len(value) > MaxFree {", "if false {"),
	freeMutant("no reach", "s = s[:min(len(s), reach)]", "s = s[:]"),
	freeMutant("code in sentences runs", "!f.quoted(i, end)", "true"),
	expansionMutant("arrows redirect", "if i > 0 && (s[i-1] == '-' || s[i-1] == '=') { // an arrow", "if false { // an arrow"),
	hiddenMutant("rotation", "if l.rotated >= fewWords && l.rotated > l.plain {", "if false {"),
	hiddenMutant("from behind", "if l.reversed >= fewWords && l.reversed > l.plain {", "if false {"),
	hiddenMutant("digits", "if l.leet >= fewWords && l.leet > l.plain {", "if false {"),
	hiddenMutant("letter by letter", "if l.single >= 8 && 2*l.single >= l.words {", "if false {"),
	hiddenMutant("emphasis", "if l.split >= 3 {", "if false {"),
	hiddenMutant("overrides", "if strings.Contains(text, \"\\u202e\") {", "if false {"),
	packedMutant("lines of Base64", "if i-start >= fullLine {", "if false {"),
	packedMutant("a byte that is no text", "return n > 0 && 8*odd <= n", "return n > 0 && odd == 0"),
	hiddenMutant("encodings inside one another", "if h.depth < maxDepth {", "if false {"),
	hiddenMutant("encodings without an end", "if h.depth < maxDepth {", "if h.depth < 99 {"),
	hiddenMutant("no budget", "if h.seen.budget < len(reading) {", "if false {"),
	hiddenMutant("a budget that runs out is silent", "		h.seen.add(hiddenText, start, end)\n", ""),
	hiddenMutant("places inside what was decoded", "	if h.depth > 1 {\n\t\tstart, end = h.start, h.end\n\t}\n", ""),
	{name: "injection model: clean parts of an attack", file: "guards/injection/train/learn.go", old: "if e.attack && !slices.Contains(hit[from:to], true) {", new: "if false {", pkgs: []string{"./guards/injection/train"}, run: "."},
}

// in makes mutants of one file, which tests of its package kill.
func in(area, file, pkg, run string) func(name, was, now string) mutant {
	return func(name, was, now string) mutant {
		return mutant{name: area + ": " + name, file: pkg + "/" + file, old: was, new: now, pkgs: []string{"./" + pkg}, run: run}
	}
}

var (
	askMutant        = in("injection model", "injection.go", "guards/injection", ".")
	featureMutant    = in("injection model", "features.go", "guards/injection", ".")
	modelMutant      = in("injection model", "model.go", "guards/injection", ".")
	hiddenMutant     = in("hidden instructions", "hidden.go", "guards/injection", "Encoded|Depth|Hidden|Budget|OneWay")
	packedMutant     = in("packed text", "packed.go", "guards/text", "Packed|Unpack")
	encodedMutant    = in("encoded secrets", "encoded.go", "guards/secrets", "Encoded")
	hiddenCharacters = in("hidden characters", "terminal.go", "guards/terminal", ".")
	freeMutant       = in("free arguments", "free.go", "guards/command", "Examine")
	statementMutant  = in("free arguments", "statement.go", "guards/command", "Examine")
	optionMutant     = in("free arguments", "option.go", "guards/command", "Examine")
	expansionMutant  = in("free arguments", "expansion.go", "guards/command", "Examine")
)
