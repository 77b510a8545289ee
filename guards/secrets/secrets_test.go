package secrets

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"mcp-sidecar/guards"
)

// Credentials are put together at run time, so that no scanner takes this file
// for a leak. Values are random-looking but made up; AWS ones are its
// documented examples.
var (
	awsID     = "AKIA" + "IOSFODNN7EXAMPLE"
	awsSecret = "wJalrXUtnFEMI/K7MDENG/" + "bPxRfiCYEXAMPLEKEY"
	webToken  = "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxMjM0NTY3ODkwIn0" + ".dozjgNryP4J3jVmNHl0w5N"
	body36    = "q8Zr1Lw0Xc7Vb2Nm5Kj4Hg3Fd6Sa9Po" + "TyUeI"
	pemBody   = "MC4CAQAwBQYDK2VwBCIEIGh5cGhlbmF0ZWQgZXhhbXBsZSBvbmx5IQ=="
)

func pemBlock(kind string) string {
	return "-----BEGIN " + kind + "-----\n" + pemBody + "\n-----END " + kind + "-----"
}

var positives = []struct {
	name, text, want string
}{
	{
		"deploy notes of the demo",
		"deploy notes: aws " + awsID + ", db postgres://app:s3cr3t@db:5432/appdb, jwt " + webToken,
		"deploy notes: aws [REDACTED:aws_access_key], db [REDACTED:connection_string], jwt [REDACTED:jwt]",
	},
	{
		"error text of the demo",
		"no document id=7 in postgres://docs:n4ive@db:5432/documents",
		"no document id=7 in [REDACTED:connection_string]",
	},
	{"temporary aws key", "id ASIA" + "IOSFODNN7EXAMPLE.", "id [REDACTED:aws_access_key]."},
	{"aws key behind a json escape", `{"a":"x\n` + awsID + `"}`, `{"a":"x\n[REDACTED:aws_access_key]"}`},
	{"aws key behind a percent escape", "k%3D" + awsID, "k%3D[REDACTED:aws_access_key]"},
	{"aws key inside chinese text", "密钥" + awsID + "。", "密钥[REDACTED:aws_access_key]。"},
	{"aws secret beside its label", "aws_secret_access_key = " + awsSecret, "aws_secret_access_key = [REDACTED:aws_secret_key]"},

	{"url without user", "redis://:hunter22@cache:6379/0", "[REDACTED:connection_string]"},
	{"url of a page", "see https://ann:s3cr3tpw@git.test/x.", "see https://ann:[REDACTED:connection_string]@git.test/x."},
	{"scheme with a driver", "postgresql+psycopg2://u:p4ss@h/db", "[REDACTED:connection_string]"},
	{"url in a sentence", "see (mysql://root:pa55@h/db); then", "see ([REDACTED:connection_string]); then"},
	{"url in quotes", `dsn="amqp://guest:gu3st@mq:5672/v"`, `dsn="[REDACTED:connection_string]"`},
	{"url behind a json escape", `{"e":"dial\nhttp://a:b3c@h/"}`, `{"e":"dial\nhttp://a:[REDACTED:connection_string]@h/"}`},
	{"url with several hosts", "mongodb+srv://u:p4ss@h1:27017,h2:27017/db?x=1,", "[REDACTED:connection_string],"},
	{"raw hash in the password", "https://deploy:Riv#er96@git.test/x", "https://deploy:[REDACTED:connection_string]@git.test/x"},
	{"raw slash in the password", "postgres://app:pa/ss9@db/x", "[REDACTED:connection_string]"},
	{"raw at sign in the password", "postgres://app:p@ss@db/x", "[REDACTED:connection_string]"},
	{"number before an at sign", "ftp://u:123456@h/in", "ftp://u:[REDACTED:connection_string]@h/in"},
	{"url before chinese text", "数据库postgres://app:s3cr3t@db/app，请保密", "数据库[REDACTED:connection_string]，请保密"},
	{"password that starts like a variable", "redis://u:$ecret99@h", "[REDACTED:connection_string]"},
	{"percent-encoded password", "redis://u:%40bc99@h", "[REDACTED:connection_string]"},
	{"cut behind the password", "postgres://app:s3cr3t@\xff", "[REDACTED:connection_string]\xff"},
	{"many urls in one run", "a://b:c1@d|e://f:g1@h", "a://b:[REDACTED:connection_string]@d|e://f:[REDACTED:connection_string]@h"},

	{"jwt at the end of a sentence", "It is " + webToken + ".", "It is [REDACTED:jwt]."},
	{"unsigned jwt", strings.TrimSuffix(webToken, "dozjgNryP4J3jVmNHl0w5N"), "[REDACTED:jwt]."},
	{"jwt in a header", "Authorization: Bearer " + webToken, "Authorization: Bearer [REDACTED:jwt]"},
	{"jwt under a name", `{"token":"` + webToken + `"}`, `{"token":"[REDACTED:jwt]"}`},

	{"github token", "ghp_" + body36, "[REDACTED:github_token]"},
	{"github fine-grained token", "x=github_pat_" + body36 + ";", "x=[REDACTED:github_token];"},
	{"gitlab token", "glpat-" + body36, "[REDACTED:gitlab_token]"},
	{"slack token", "xoxb-9081726354-" + body36, "[REDACTED:slack_token]"},
	{"slack webhook", "https://hooks.slack.com/services/T0001/B0002/" + body36, "https://[REDACTED:webhook_url]"},
	{"google key", "AIza" + body36[:35], "[REDACTED:google_api_key]"},
	{"stripe key", "sk_live_" + body36, "[REDACTED:stripe_key]"},
	{"openai key", "OPENAI=sk-proj-" + body36, "OPENAI=[REDACTED:openai_key]"},
	{"anthropic key", "sk-ant-api03-" + body36, "[REDACTED:anthropic_key]"},
	{"hugging face token without digits", "hf_" + "qZrLwXcVbNmKjHgFdSaPoTyUeIqAzWsXed", "[REDACTED:huggingface_token]"},

	{"private key", "a\n" + pemBlock("PRIVATE KEY") + "\nb", "a\n[REDACTED:private_key]\nb"},
	{"rsa private key", pemBlock("RSA PRIVATE KEY"), "[REDACTED:private_key]"},
	{"pgp private key", pemBlock("PGP PRIVATE KEY BLOCK"), "[REDACTED:private_key]"},
	{"private key in json", `"-----BEGIN PRIVATE KEY-----\n` + pemBody + `\n-----END PRIVATE KEY-----\n"`, `"[REDACTED:private_key]\n"`},
	{"private key without end", "k:\n-----BEGIN EC PRIVATE KEY-----\n" + pemBody, "k:\n[REDACTED:private_key]"},
	{
		"private key behind a certificate's end", "-----END CERTIFICATE-----" + pemBlock("PRIVATE KEY"),
		"-----END CERTIFICATE-----[REDACTED:private_key]",
	},

	{"bearer header", "Authorization: Bearer d385c4090b6a26b6\r\nHost: x", "Authorization: Bearer [REDACTED:bearer_token]\r\nHost: x"},
	{"bearer header in json", `{"Authorization":"bearer abcd1234efgh"}`, `{"Authorization":"bearer [REDACTED:bearer_token]"}`},
	{"basic header", "authorization: Basic dXNlcjpwYXNz", "authorization: Basic [REDACTED:bearer_token]"},
	{"bearer without header", "use Bearer " + body36, "use Bearer [REDACTED:bearer_token]"},

	{"environment", "PGPASSWORD=hunter22 psql", "PGPASSWORD=[REDACTED:password_assignment] psql"},
	{"capitals", "NEXTAUTH_SECRET=b40d2b4939b5e050", "NEXTAUTH_SECRET=[REDACTED:password_assignment]"},
	{"dot in the password", "DB_PASSWORD=My.Passw0rd", "DB_PASSWORD=[REDACTED:password_assignment]"},
	{"access token of forty characters", "access_token=" + body36 + "1a2b", "access_token=[REDACTED:password_assignment]"},
	{"json member", `{"user":"svc","password":"8XqB2jl1","host":"db"}`, `{"user":"svc","password":"[REDACTED:password_assignment]","host":"db"}`},
	{"json inside json", `"{\"api_key\":\"k9Xw2pLq7Rt\"}"`, `"{\"api_key\":\"[REDACTED:password_assignment]\"}"`},
	{"escaped quote in the value", `"password":"ab\"cd9efg"`, `"password":"[REDACTED:password_assignment]"`},
	{"ado connection string", "Server=h;User ID=app;Password=Thick5685#;Encrypt=true;", "Server=h;User ID=app;Password=[REDACTED:password_assignment];Encrypt=true;"},
	{"query string", "?user=a&password=hunter22&x=1", "?user=a&password=[REDACTED:password_assignment]&x=1"},
	{"yaml", "client_secret: b40d2b4939b5e050", "client_secret: [REDACTED:password_assignment]"},
	{"xml", "<apiToken>\n  b40d2b4939b5e050\n</apiToken>", "<apiToken>\n  [REDACTED:password_assignment]\n</apiToken>"},
	{"typed variable", `var token string = "b40d2b4939b5e050"`, `var token string = "[REDACTED:password_assignment]"`},
	{"property call", `set("APP_TOKEN", "b40d2b4939b5e050")`, `set("APP_TOKEN", "[REDACTED:password_assignment]")`},
	{"markdown", "**Password:** hunter22", "**Password:** [REDACTED:password_assignment]"},
	{"sentence", "The password: hunter22. Then", "The password: [REDACTED:password_assignment]. Then"},
	{"bracket in the value", "PASSWORD=hunter22[cdefg", "PASSWORD=[REDACTED:password_assignment]"},
	{"quoted letters in two cases", `"passphrase": "falconSAFFRON"`, `"passphrase": "[REDACTED:password_assignment]"`},
	{"pin", "pwd=4711815", "pwd=[REDACTED:password_assignment]"},
	{"curl user", "curl -u admin:Wf9Uxj4q https://h", "curl -u admin:[REDACTED:cli_credential] https://h"},
	{"url as a password", "secret=postgres://u:p4ss@h", "secret=[REDACTED:connection_string]"},
}

func TestRedact(t *testing.T) {
	for _, tt := range positives {
		t.Run(tt.name, func(t *testing.T) {
			got, found := Redact(tt.text)
			if got != tt.want {
				t.Errorf("Redact(%q)\n got %q\nwant %q", tt.text, got, tt.want)
			}
			checkFindings(t, tt.text, found)
		})
	}
}

var benign = []struct{ name, text string }{
	{"empty", ""},
	{"a password that is only called so", "postgres://user:password@localhost:5432/db and https://me:secret@host/"},
	{"prose", "The keys of the house are under the mat; the password must have 12 characters."},
	{"digest", "sha256:9bdc1eb37d54dbce1dd58742790ab923609e6e78fe39c113793e623aab28d258"},
	{"uuid", `"id": "24b6e7b1-c1e3-4c4e-8826-2938e25f9bda"`},
	{"commit", "commit 2896a86e40bfd07f567e7c71cc46f2e45a301f28"},
	{"public key", "ssh-ed25519 " + "AAAAC3NzaC1lZDI1NTE5AAAAINHDdorjqJm6KSJpOE6aZgSY7ILL dev@host"},
	{"public key block", pemBlock("PUBLIC KEY")},
	{"data url", "data:image/png;base64,iVBORw0KGgoegKkQoSsjJXumBO9fWDKRlXNDfzUwWuAoSPTNtUOuawOR"},
	{"aws key too long", awsID + "X"},
	{"aws key inside a word", "x" + awsID},
	{"aws key of one letter", "AKIA" + strings.Repeat("X", 16)},
	{"url", "https://example.com:8443/a@b?x=y:z@w"},
	{"url with a user only", "ssh://git@example.com/x.git"},
	{"port and scoped package", "http://localhost:4873/@scope/package"},
	{"port and path of another scheme", "redis://localhost:6379/0@main"},
	{"port name and path", "http://localhost:PORT/users/@me"},
	{"empty password", "postgres://app:@db/x"},
	{"url template", "postgres://app:${DB_PASSWORD}@db/x"},
	{"url format", "postgres://%s:%s@%s/x"},
	{"url with stars", "postgres://app:*****@db/x"},
	{"url as Go prints it", "postgres://app:xxxxx@db/x"},
	{"mail address after a label", "contact://mail: a@b.c"},
	{"json in base64, no token", "eyJhbGciOiJIUzI1NiJ9"},
	{"cut token", `"access_token": "eyJhbGciOiJSUzI1NiIs..."`},
	{"words with ey", "they.money.keys eyeliner.eyebrow.eyes"},
	{"placeholder token", "ghp_" + strings.Repeat("x", 36)},
	{"alphabet", "ghp_" + "abcdefghijklmnopqrstuvwxyz0123456789"},
	{"task number", "task-sk-1234567890 risk-assessment-2024-with-words"},
	{"bearer variable", `curl -H "Authorization: Bearer $TOKEN" https://x`},
	{"bearer placeholder", "Authorization: Bearer <token>"},
	{"bearer prose", "Authorization: Bearer authentication is required; Basic authorization is not."},
	{"challenge", `WWW-Authenticate: Basic realm="documents 2024"`},
	{"environment template", "password: ${DB_PASSWORD}"},
	{"password variable", "export PASSWORD=$DB_PASSWORD"},
	{"angle brackets", "API_KEY=<your-api-key>"},
	{"stars", `"password": "********"`},
	{"changeme", "password=changeme99"},
	{"redacted", "client_secret: REDACTED"},
	{"lookup", `api_key = os.environ["API_KEY_2"]`},
	{"command", "export AWS_SECRET_ACCESS_KEY=$(vault read -field=secret aws/creds)"},
	{"comparison", "if (password == confirm1234) { return }"},
	{"schema", `"password": {"type": "string", "minLength": 12}`},
	{"limits", "max_tokens=100000 token_count: 123456789 token_limit = 987654321"},
	{"cursor", `{"nextPageToken":"CAUQAA19283746","progressToken":"abc123def456"}`},
	{"place of a secret", "password_file=/run/secrets/db1 token_url=https://issuer.test/token1 TOKEN_ENDPOINT=a1b2c3d4e5f6 tokenType=a1b2c3d4e5"},
	{"working directory", "PWD=/srv/app2"},
	{"index", "token = tokens[0], next"},
	{"call", `password = getPassword("x1", 2)`},
	{"passes", "bypass=yes1234, passed: 12345678, passes=yes1234"},
	{"docker user", "docker run -u 1000:1000 image"},
	{"already redacted", "aws [REDACTED:aws_access_key], password=[REDACTED:password_assignment]"},
	{"value beside a marker", "token=abc12345[REDACTED:jwt]"},
	{"marker as a name", `"[REDACTED:password_assignment]":"abc12345x"`},
	{"invalid utf-8", "\xff\xfe token \x80"},
}

func TestBenign(t *testing.T) {
	for _, tt := range benign {
		t.Run(tt.name, func(t *testing.T) {
			if got, found := Redact(tt.text); len(found) != 0 || got != tt.text {
				t.Errorf("Redact(%q) = %q, %v", tt.text, got, found)
			}
		})
	}
}

func TestLabelsInOrder(t *testing.T) {
	found := Find(positives[0].text)
	var labels []string
	for _, f := range found {
		labels = append(labels, f.Label)
	}
	want := []string{"secret:redacted aws_access_key", "secret:redacted connection_string", "secret:redacted jwt"}
	if !slices.Equal(labels, want) {
		t.Errorf("labels = %q, want %q", labels, want)
	}
}

// TestTrusted: an operator who trusts a block does not want its secrets shown.
func TestTrusted(t *testing.T) {
	g := New()
	text := guards.Text{Value: "key " + awsID, Trusted: true, Wrap: guards.WrapOff, Kind: guards.Structured}
	if got := g.Change(text, g.Find(text)); got != "key [REDACTED:aws_access_key]" {
		t.Errorf("Change = %q", got)
	}
}

func TestNothingToReportAllocatesNothing(t *testing.T) {
	texts := []guards.Text{{Value: strings.Repeat("An ordinary sentence about token limits, see https://example.com/a. ", 50)}}
	for _, tt := range benign {
		texts = append(texts, guards.Text{Value: tt.text})
	}
	g := New()
	for _, text := range texts {
		allocs := testing.AllocsPerRun(20, func() {
			if out := g.Change(text, g.Find(text)); len(out) != len(text.Value) {
				t.Errorf("%q was changed", text.Value)
			}
		})
		if allocs != 0 {
			t.Errorf("%v allocations on %q", allocs, text.Value)
		}
	}
}

// checkFindings holds what every answer of Find must satisfy.
func checkFindings(t *testing.T, s string, found []guards.Finding) {
	t.Helper()
	end := 0
	for _, f := range found {
		if f.Start < end || f.End <= f.Start || f.End > len(s) {
			t.Fatalf("finding %+v after offset %d of %d in %q", f, end, len(s), s)
		}
		if f.Guard != Name || f.Label != "secret:redacted "+f.Rule || f.Rule == "" || f.Score != 1 {
			t.Fatalf("finding %+v", f)
		}
		end = f.End
	}
}

// checkRedaction holds what every redaction must satisfy.
func checkRedaction(t *testing.T, s string) {
	t.Helper()
	out, found := Redact(s)
	checkFindings(t, s, found)
	if again, more := Redact(out); again != out || len(more) != 0 {
		t.Fatalf("not idempotent: %q\n-> %q\n-> %q", s, out, again)
	}
	if len(out) > len(s)+64*len(found) {
		t.Fatalf("%d bytes became %d with %d findings", len(s), len(out), len(found))
	}
	if utf8.ValidString(s) && !utf8.ValidString(out) {
		t.Fatalf("%q became invalid UTF-8: %q", s, out)
	}
	if len(found) == 0 && out != s {
		t.Fatalf("changed without a finding: %q -> %q", s, out)
	}
}

// TestJoinedPieces redacts random joins of what the rules react to, the same
// ones every time.
func TestJoinedPieces(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		var s strings.Builder
		for range random.IntN(20) {
			s.WriteString(pieces[random.IntN(len(pieces))])
		}
		checkRedaction(t, s.String())
	}
}

func TestMemberNamesTell(t *testing.T) {
	for _, tt := range []struct{ name, member, value, want string }{
		{"password", "password", "hunter22!", "[REDACTED:password_assignment]"},
		{"longer name", "db_password", "hunter22!", "[REDACTED:password_assignment]"},
		{"another member", "title", "hunter22!", "hunter22!"},
		{"no member", "", "hunter22!", "hunter22!"},
		{"placeholder", "password", "<password>", "<password>"},
		{"already redacted", "password", "[REDACTED:password_assignment]", "[REDACTED:password_assignment]"},
		{"quotes inside", "password", `a" b`, `a" b`},
		{"found without the name", "password", "AKIAIOSFODNN7EXAMPLE", "[REDACTED:aws_access_key]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := guards.Text{Value: tt.value, Member: tt.member, Kind: guards.Structured}
			if got := New().Change(text, New().Find(text)); got != tt.want {
				t.Errorf("%s: %q became %q, want %q", tt.member, tt.value, got, tt.want)
			}
		})
	}
	benign := guards.Text{Value: "nothing secret here", Member: "title"}
	if n := testing.AllocsPerRun(100, func() { New().Find(benign) }); n != 0 {
		t.Errorf("%v allocations for a benign member", n)
	}
}
