package secrets

import (
	"strings"
	"sync"
)

// wordKind says which matcher reads on behind a word.
type wordKind uint8

const (
	tokenWord    wordKind = iota // the secret starts with the word
	jwtWord                      // the secret starts with the word and has three parts
	urlWord                      // user:password@ follows
	pemWord                      // a PEM block follows
	schemeWord                   // a header's credential follows
	userFlagWord                 // user:password of a command line follows
	foreignWord                  // rules of gitleaks only
	keyWord                      // the word names a value that follows
)

// trigger is a word and what to do where it stands.
type trigger struct {
	word string // lower case, as words compares
	kind wordKind
	// For tokenWord: the prefix as issued and how it goes on.
	token token
	// For keyWord: how much the value must look like a secret.
	strength strength
	foreign  []*foreignRule // asked after the word's own rule
}

// token describes a vendor's credential with a fixed prefix.
type token struct {
	rule   string
	prefix string  // with its case
	set    charset // what the rest is written in
	min    int     // bytes behind the prefix, at least
	exact  bool    // min bytes and no more
}

// tokens lists credentials that name their own kind. Prefixes and lengths are
// those that the vendors document or issue.
var tokens = []token{
	{"aws_access_key", "AKIA", alnum, 16, true},
	{"aws_access_key", "ASIA", alnum, 16, true},
	{"aws_access_key", "ABIA", alnum, 16, true},
	{"aws_access_key", "ACCA", alnum, 16, true},
	{"aws_bedrock_key", "bedrock-api-key-YmVkcm9jay5hbWF6b25hd3MuY29t", token68, 0, false},
	{"github_token", "ghp_", alnum, 30, false},
	{"github_token", "gho_", alnum, 30, false},
	{"github_token", "ghu_", alnum, 30, false},
	{"github_token", "ghs_", alnum, 30, false},
	{"github_token", "ghr_", alnum, 30, false},
	{"github_token", "github_pat_", ident, 30, false},
	{"gitlab_token", "glpat-", dotted, 20, false},
	{"gitlab_token", "gldt-", slug, 20, false},
	{"gitlab_token", "glrt-", dotted, 20, false},
	{"gitlab_token", "glcbt-", slug, 20, false},
	{"gitlab_token", "glptt-", slug, 20, false},
	{"gitlab_token", "glft-", slug, 20, false},
	{"gitlab_token", "glimt-", slug, 20, false},
	{"gitlab_token", "glsoat-", slug, 20, false},
	{"gitlab_token", "gloas-", slug, 20, false},
	{"gitlab_token", "glagent-", slug, 20, false},
	{"gitlab_token", "glffct-", slug, 20, false},
	{"gitlab_token", "_gitlab_session=", alnum, 20, false},
	{"slack_token", "xoxa-", slug, 16, false},
	{"slack_token", "xoxb-", slug, 16, false},
	{"slack_token", "xoxc-", slug, 16, false},
	{"slack_token", "xoxd-", token68, 16, false},
	{"slack_token", "xoxe-", slug, 16, false},
	{"slack_token", "xoxe.xox", slug, 16, false},
	{"slack_token", "xoxo-", slug, 16, false},
	{"slack_token", "xoxp-", slug, 16, false},
	{"slack_token", "xoxr-", slug, 16, false},
	{"slack_token", "xoxs-", slug, 16, false},
	{"slack_token", "xapp-", slug, 16, false},
	{"google_api_key", "AIza", slug, 35, false},
	{"google_oauth_token", "ya29.", dotted, 20, false},
	{"google_oauth_token", "GOCSPX-", slug, 20, false},
	{"stripe_key", "sk_live_", ident, 10, false},
	{"stripe_key", "sk_test_", ident, 10, false},
	{"stripe_key", "rk_live_", ident, 10, false},
	{"stripe_key", "rk_test_", ident, 10, false},
	{"stripe_key", "whsec_", token68, 20, false},
	{"anthropic_key", "sk-ant-", slug, 20, false},
	{"openai_key", "sk-proj-", slug, 20, false},
	{"openai_key", "sk-svcacct-", slug, 20, false},
	{"openai_key", "sk-admin-", slug, 20, false},
	{"openai_key", "sk-", alnum, 20, false},
	{"openrouter_key", "sk-or-", slug, 20, false},
	{"huggingface_token", "hf_", alnum, 34, true},
	{"huggingface_token", "api_org_", alnum, 34, true},
	{"npm_token", "npm_", alnum, 36, false},
	{"pypi_token", "pypi-", slug, 50, false},
	{"rubygems_token", "rubygems_", alnum, 40, false},
	{"docker_token", "dckr_pat_", slug, 20, false},
	{"digitalocean_token", "dop_v1_", alnum, 40, false},
	{"digitalocean_token", "doo_v1_", alnum, 40, false},
	{"digitalocean_token", "dor_v1_", alnum, 40, false},
	{"shopify_token", "shpat_", alnum, 32, false},
	{"shopify_token", "shpca_", alnum, 32, false},
	{"shopify_token", "shppa_", alnum, 32, false},
	{"shopify_token", "shpss_", alnum, 32, false},
	{"sendgrid_key", "SG.", dotted, 40, false},
	{"vault_token", "hvs.", dotted, 20, false},
	{"vault_token", "hvb.", dotted, 20, false},
	{"grafana_token", "glsa_", ident, 30, false},
	{"grafana_token", "glc_", token68, 30, false},
	{"sentry_token", "sntryu_", alnum, 64, true},
	{"notion_token", "ntn_", alnum, 40, false},
	{"easypost_key", "EZAK", alnum, 54, true},
	{"easypost_key", "EZTK", alnum, 54, true},
	{"linear_key", "lin_api_", alnum, 30, false},
	{"planetscale_token", "pscale_", token68, 30, false},
	{"postman_key", "PMAK-", slug, 40, false},
	{"doppler_token", "dp.pt.", dotted, 30, false},
	{"dynatrace_token", "dt0c01.", dotted, 40, false},
	{"databricks_token", "dapi", alnum, 32, true},
	{"newrelic_key", "NRAK-", slug, 20, false},
	{"newrelic_key", "NRJS-", slug, 19, false},
	{"flutterwave_key", "FLWSECK_TEST-", slug, 12, false},
	{"flutterwave_key", "FLWSECK-", slug, 12, false},
	{"cloudflare_key", "v1.0-", slug, 100, false},
	{"age_key", "AGE-SECRET-KEY-1", alnum, 58, true},
	{"openshift_token", "sha256~", slug, 43, false},
	{"webhook_url", "hooks.slack.com/services/", address, 20, false},
	{"webhook_url", "hooks.slack.com/workflows/", address, 20, false},
	{"webhook_url", "discord.com/api/webhooks/", address, 20, false},
	{"webhook_url", "webhook.office.com/webhookb2/", address, 40, false},
}

// Rules without a fixed prefix. Rule names are part of the interface.
const (
	ruleJWT        = "jwt"
	ruleConnection = "connection_string"
	rulePrivateKey = "private_key"
	ruleBearer     = "bearer_token"
	rulePassword   = "password_assignment"
	ruleAWSSecret  = "aws_secret_key"
	ruleUserFlag   = "cli_credential"
)

// table is what all scanners read.
type table struct {
	triggers []trigger
	lexicon  *words
	labels   map[string]string // a finding allocates no text of its own
	prefixed []*foreignRule    // those whose secrets start in a way that nothing else does
}

// rules makes the table for the first text, since reading gitleaks' rules takes longer
// than a program should need that only prints its version.
var rules = sync.OnceValue(func() *table {
	t := &table{triggers: buildTriggers(), labels: map[string]string{}}
	for _, rule := range []string{
		ruleJWT, ruleConnection, rulePrivateKey, ruleBearer, rulePassword, ruleAWSSecret, ruleUserFlag, ruleOwn,
	} {
		t.label(rule)
	}
	for _, token := range tokens {
		t.label(token.rule)
	}
	t.addForeign()
	list := make([]string, len(t.triggers))
	for i, trigger := range t.triggers {
		list[i] = trigger.word
	}
	t.lexicon = newWords(list)
	return t
})

func (t *table) label(rule string) { t.labels[rule] = "secret:redacted " + rule }

func buildTriggers() []trigger {
	list := []trigger{
		{word: "ey", kind: jwtWord},
		{word: "://", kind: urlWord},
		{word: "-----begin ", kind: pemWord},
		{word: "bearer", kind: schemeWord},
		{word: "basic", kind: schemeWord},
		{word: " -u ", kind: userFlagWord},
		{word: " --user ", kind: userFlagWord},
		{word: " --user=", kind: userFlagWord},
	}
	for _, t := range tokens {
		list = append(list, trigger{word: strings.ToLower(t.prefix), kind: tokenWord, token: t})
	}
	for _, word := range passwordWords {
		list = append(list, trigger{word: word, kind: keyWord, strength: password})
	}
	for _, word := range keyWords {
		list = append(list, trigger{word: word, kind: keyWord, strength: key})
	}
	return list
}
