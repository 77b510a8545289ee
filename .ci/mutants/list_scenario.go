package main

var scenarioTests = []string{"./scenarios"}

// sensors are the tests of what the demo measures with.
const sensors = "TestSensors|TestRecord|TestVerdict|TestPassenger|TestBelieving|TestAdopter|TestRawAnswer"

// scenarioMutants blind the demo: it would call well what it cannot see.
var scenarioMutants = []mutant{
	{name: "demo: Base64 hides a credential", file: "scenarios/recorder.go", old: "forms = append(forms, inner, strings", new: "forms = append(forms, strings", pkgs: scenarioTests, run: sensors},
	{name: "demo: Base64 for URLs hides a credential", file: "scenarios/recorder.go", old: `, strings.NewReplacer("+", "-", "/", "_").Replace(inner))`, new: ")", pkgs: scenarioTests, run: sensors},
	{name: "demo: what came earlier is not searched", file: "scenarios/effects.go", old: "range c.recorder.since(0) {", new: "range c.recorder.since(c.recorder.mark())[:0] {", pkgs: scenarioTests, run: sensors},
	{name: "demo: every credential is the sidecar's", file: "scenarios/effects.go", old: "if name, known := whose[r.bearer()]; known {", new: "if name, known := whose[c.service]; known {", pkgs: scenarioTests, run: sensors},
	{name: "demo: underscores hide a header", file: "scenarios/recorder.go", old: "if variable(name) == variable(header) {", new: "if name == header {", pkgs: scenarioTests, run: sensors},
	{name: "demo: findings of other calls count", file: "scenarios/recorder.go", old: "record.Name == tool && ", new: "", pkgs: scenarioTests, run: sensors},
	{name: "demo: a sensor that is missing has seen nothing", file: "scenarios/effects.go", old: "\t\tif c.recorder == nil {\n\t\t\treturn notMeasured\n\t\t}\n\t\treturn yesNo(slices.ContainsFunc(e.received", new: "\t\treturn yesNo(slices.ContainsFunc(e.received", pkgs: scenarioTests, run: sensors},
	{name: "demo: an answer that nobody expected is no success", file: "scenarios/run.go", old: "return !looked && r.Proxied.Answer.Outcome == allowed && ", new: "return !looked && false && ", pkgs: scenarioTests, run: sensors},
	{name: "demo: one effect that failed is enough", file: "scenarios/run.go", old: "if m.decisive() && m.Direct != notMeasured && m.Direct != m.ExpectedDirect {", new: "if m.decisive() && false {", pkgs: scenarioTests, run: sensors},
	{name: "demo: the token stays when none was asked for", file: "scenarios/client.go", old: "\tcase noToken:\n\tcase \"\":", new: "\tcase \"\", noToken:", pkgs: scenarioTests, run: sensors},
	{name: "demo: names of headers are corrected", file: "scenarios/client.go", old: "r.Header[name] = []string{value} // Set would", new: "r.Header.Set(name, value) // Set would", pkgs: scenarioTests, run: sensors},
	{name: "demo: refused answers without a message are allowed", file: "scenarios/raw.go", old: "case len(a.message) == 0 && a.status >= http.StatusBadRequest:\n\t\treturn answer{rejected,", new: "case len(a.message) == 0 && a.status >= http.StatusBadRequest:\n\t\treturn answer{allowed,", pkgs: scenarioTests, run: sensors},
}
