package main

var scenarioTests = []string{"./scenarios"}

// sensors are the tests of what the demo measures with.
const sensors = "TestSensors|TestRecord|TestVerdict|TestPassenger|TestBelieving|TestAdopter|TestRawAnswer|TestNotRun|TestDeadTokens|TestThirdParty|TestProtected"

// scenarioMutants blind the demo: it would call well what it cannot see.
var scenarioMutants = []mutant{
	{name: "demo: what came earlier is not searched", file: "scenarios/effects.go", old: "slices.ContainsFunc(c.recorder.since(0), ", new: "slices.ContainsFunc(c.recorder.since(0)[:0], ", pkgs: scenarioTests, run: sensors},
	{name: "demo: every credential is the sidecar's", file: "scenarios/effects.go", old: "if name, known := whose[r.bearer()]; known {", new: "if name, known := whose[c.service]; known {", pkgs: scenarioTests, run: sensors},
	{name: "demo: underscores hide a header", file: "scenarios/recorder.go", old: "if variable(name) == variable(header) {", new: "if name == header {", pkgs: scenarioTests, run: sensors},
	{name: "demo: findings of other calls count", file: "scenarios/recorder.go", old: "record.Name == tool && ", new: "", pkgs: scenarioTests, run: sensors},
	{name: "demo: a sensor that is missing has seen nothing", file: "scenarios/effects.go", old: "\t\tif c.recorder == nil {\n\t\t\treturn notMeasured\n\t\t}\n\t\treturn yesNo(slices.ContainsFunc(e.received", new: "\t\treturn yesNo(slices.ContainsFunc(e.received", pkgs: scenarioTests, run: sensors},
	{name: "demo: an answer that nobody expected is no success", file: "scenarios/run.go", old: "return !looked && r.Proxied.Answer.Outcome == allowed && ", new: "return !looked && false && ", pkgs: scenarioTests, run: sensors},
	{name: "demo: one effect that failed is enough", file: "scenarios/run.go", old: "if m.decisive() && m.Direct != notMeasured && m.Direct != m.ExpectedDirect {", new: "if m.decisive() && false {", pkgs: scenarioTests, run: sensors},
	{name: "demo: the token stays when none was asked for", file: "scenarios/client.go", old: "\tcase noToken:\n\tcase \"\":", new: "\tcase \"\", noToken:", pkgs: scenarioTests, run: sensors},
	{name: "demo: names of headers are corrected", file: "scenarios/client.go", old: "r.Header[name] = []string{value} // Set would", new: "r.Header.Set(name, value) // Set would", pkgs: scenarioTests, run: sensors},
	{name: "demo: what was not run counts", file: "scenarios/run.go", old: "\tcase r.Skipped:\n", new: "", pkgs: scenarioTests, run: sensors},
	{name: "demo: keys that were rotated out stay", file: "scenarios/keys.go", old: "\t\ti.Retire(kid)\n", new: "\t\t_ = kid\n", pkgs: scenarioTests, run: sensors},
	{name: "demo: alice presses whatever asks her", file: "scenarios/browser.go", old: "\t\tif !allow {", new: "\t\tif false {", pkgs: scenarioTests, run: sensors},
	{name: "demo: the third party answers anywhere", file: "scenarios/thirdparty.go", old: `; !known || redirect != q.Get("redirect_uri") {`, new: `; !known || redirect == "" {`, pkgs: scenarioTests, run: sensors},
	{name: "demo: the third party wants no verifier", file: "scenarios/thirdparty.go", old: ` || c.challenge != "" && c.challenge != challengeOf(r.PostFormValue("code_verifier")) {`, new: " {", pkgs: scenarioTests, run: sensors},
	{name: "demo: the third party's server lets everybody in", file: "scenarios/thirdparty.go", old: "\t\tif !known {\n\t\t\thttp.Error(w, \"a token", new: "\t\tif false && !known {\n\t\t\thttp.Error(w, \"a token", pkgs: scenarioTests, run: sensors},
	{name: "demo: refused answers without a message are allowed", file: "scenarios/raw.go", old: "case len(a.message) == 0 && a.status >= http.StatusBadRequest:\n\t\treturn answer{rejected,", new: "case len(a.message) == 0 && a.status >= http.StatusBadRequest:\n\t\treturn answer{allowed,", pkgs: scenarioTests, run: sensors},
}
