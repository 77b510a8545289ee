// Package config reads the sidecar's one YAML file and says everything that is
// wrong with it, each problem with its line and column.
//
// Load and Parse start from Default, refuse every key they do not know and
// return a Config whose meaning is still unchecked, so that the environment
// (ApplyEnv) and the command line, which are stronger than the file, can be laid
// over it. Validate then checks the whole and changes nothing: it opens no file
// and asks no network.
//
//	cfg, err := config.Load("sidecar.yaml")
//	if err != nil { … }                       // *fs.PathError or Errors
//	problems := cfg.ApplyEnv(os.LookupEnv)    // then flags: set fields, note Override
//	problems = append(problems, cfg.Validate()...)
//
// Values that the file format knows but this build does not serve yet are refused
// too: a setting that is silently ignored would be a hole that looks closed.
// Secrets are never inline; the file names the files that hold them.
package config

import (
	"cmp"
	"time"
)

// Config is the whole configuration. Its zero value is refused by Validate;
// start from Default. The tag named json is the key in the file.
type Config struct {
	// Version is the format of the file. Zero means it was not given, which is
	// refused; 1 is the only one.
	Version int `json:"version" jsonschema:"Format of this file. Always 1."`
	// Preset chooses what is enforced without further settings. Zero is
	// PresetBalanced.
	Preset Preset `json:"preset,omitempty" jsonschema:"What is enforced without further settings. Default: balanced."`
	// Listen is host:port of the MCP endpoint; port 0 takes a free one. Empty is
	// refused; Default sets 127.0.0.1:8811.
	Listen string `json:"listen,omitempty" jsonschema:"Address of the MCP endpoint as host:port; port 0 takes a free one. Default: 127.0.0.1:8811."`
	// PublicURL is the origin under which clients reach the sidecar. Metadata
	// documents are built from it, never from a Host header. Empty means the
	// listen address, which is allowed on loopback only once auth is configured.
	PublicURL string `json:"public_url,omitempty" jsonschema:"Origin under which clients reach the sidecar, such as https://sidecar.example, without path. Default: the listen address (loopback only)."`
	// BehindTLSProxy says that something in front ends TLS. False refuses a
	// listener that is reachable from other hosts.
	BehindTLSProxy bool `json:"behind_tls_proxy,omitempty" jsonschema:"Says that a proxy in front of the sidecar ends TLS. Needed for a listener that is not on loopback. Default: false."`
	// TLS makes the MCP endpoint speak TLS. Nil leaves it at plain HTTP, which is
	// allowed on loopback and with BehindTLSProxy only.
	TLS *TLS `json:"tls,omitempty" jsonschema:"Certificate of the MCP endpoint. Without it the endpoint speaks plain HTTP, on loopback or with behind_tls_proxy only."`
	// AllowedHosts are Host header values accepted beside the listen address and
	// PublicURL, as host or host:port. Empty adds none.
	AllowedHosts []string `json:"allowed_hosts,omitempty" jsonschema:"Host header values accepted beside the listen address and public_url, as host or host:port. Default: none."`
	// AllowedOrigins are the web origins that may call. Empty refuses every
	// request that carries an Origin other than the address it was sent to.
	AllowedOrigins []string `json:"allowed_origins,omitempty" jsonschema:"Web origins that may call, as scheme://host or scheme://host:port. Default: none."`
	// Diagnostics is the listener for probes. Nil opens none.
	Diagnostics *Diagnostics `json:"diagnostics,omitempty" jsonschema:"Listener for /livez and /readyz; {} means the default address. Without it there is none."`
	// StateDir is the folder for what the sidecar keeps. Empty means the XDG
	// state folder; StateFolder resolves it.
	StateDir string `json:"state_dir,omitempty" jsonschema:"Folder for what the sidecar keeps. Default: $XDG_STATE_HOME/mcp-sidecar, else ~/.local/state/mcp-sidecar."`
	// SealKeyFile names the file with the key that seals what servers want back
	// from clients. Empty means a random key: what one process has sealed, no
	// other can open, and neither can the same after a restart.
	SealKeyFile string `json:"seal_key_file,omitempty" jsonschema:"File with the key, at least 32 characters, that seals requestState; replicas share it. Default: a random key for each process."`
	// Methods are admitted beyond those of MCP, in both directions. Empty admits
	// none. Under a policy each is the object UPSTREAM/method:NAME with the action
	// call.
	Methods []string `json:"methods,omitempty" jsonschema:"Methods and notifications that pass beyond those of MCP, by name. Default: none."`
	// Auth says who may call. Nil means that callers cannot be authenticated,
	// which Validate allows only with InsecureNoAuth.
	Auth *Auth `json:"auth,omitempty" jsonschema:"How callers are authenticated. Without it the sidecar does not start, unless --insecure-no-auth is passed."`
	// Broker is the sidecar's own authorization server, for upstreams that want the
	// token of a third party. Nil runs none.
	Broker *Broker `json:"broker,omitempty" jsonschema:"Authorization server of the sidecar, for upstreams with a broker of their own. Without it there is none."`
	// Upstreams are the guarded MCP servers by name. The only one answers at /mcp,
	// several answer at /NAME/mcp each. Empty is refused.
	Upstreams map[string]Upstream `json:"upstreams" jsonschema:"The guarded MCP servers by name. The only one answers at /mcp, several at /NAME/mcp each."`
	// Merge offers all upstreams together at /mcp, their names with the upstream's
	// in front, beside each of them at /NAME/mcp. False does not.
	Merge bool `json:"merge,omitempty" jsonschema:"Offers all servers together at /mcp, with names such as docs.read_document, beside each of them at /NAME/mcp. Default: false."`
	// Policy says which role may do what. Nil means the preset's built-in policy;
	// a given one always means default deny.
	Policy *Policy `json:"policy,omitempty" jsonschema:"Which role may do what. A given policy denies by default; without one the preset's built-in policy applies."`
	// Tools maps upstream/tool to what the tool means. A tool without an entry is
	// the resource upstream/tool with the action call.
	Tools map[string]Tool `json:"tools,omitempty" jsonschema:"What each tool means, by upstream/tool."`
	// Quarantine holds back tools that have no entry in Tools. Nil is true with
	// PresetStrict and false otherwise.
	Quarantine *bool `json:"quarantine,omitempty" jsonschema:"Holds back tools without an entry under tools: they are not listed, and calls are answered as unknown. Default: true with strict, else false."`
	// Guards sets the guards that look at every message. Unset modes follow the
	// preset.
	Guards Guards `json:"guards,omitzero" jsonschema:"Modes of the guards that look at every answer. Default: by preset."`
	// Classifier is asked about texts of which the injection guard is not sure. Nil asks
	// nobody.
	Classifier *Classifier `json:"classifier,omitempty" jsonschema:"Service of your own that is asked about texts of which the injection guard is not sure. Without it nobody is asked."`
	// Allow are exceptions from guards. Empty makes none.
	Allow []Exception `json:"allow,omitempty" jsonschema:"Exceptions: what one rule of a guard finds in one tool is let be, until a day. Default: none."`
	// DNS answers names without asking. Zero answers none.
	DNS DNS `json:"dns,omitzero" jsonschema:"How names are resolved for the SSRF guard and the egress proxy."`
	// Egress is the forward proxy through which servers reach the outside. Nil runs
	// none.
	Egress *Egress `json:"egress,omitempty" jsonschema:"Forward proxy through which servers reach the outside: it dials public addresses only. {} means the defaults. Without it there is none."`
	// Limits bounds what one caller may cost. Zero limits are refused; Default
	// sets all of them.
	Limits Limits `json:"limits,omitzero" jsonschema:"Upper bounds. A message above one is refused whole."`
	// Audit says where outcome records go. Zero means a file in the state folder.
	Audit Audit `json:"audit,omitzero" jsonschema:"Where outcome records go."`

	// InsecureNoAuth lets everybody on this host in as anonymous. Only the
	// command line sets it: a file that travels between hosts must not be able to
	// switch authentication off. False is the safe value.
	InsecureNoAuth bool `json:"-"`
	// Local says that the only client is the program that started the sidecar, so
	// that it needs no token: it could start the server itself. Only the command
	// line sets it. False is the safe value.
	Local bool `json:"-"`
	// Unused are credentials that the command line has put out of use. No server may
	// get to see them all the same. Nil means none.
	Unused []Credential `json:"-"`

	origin *origin // where values come from; nil for a Config built in code
}

// Auth says how a caller's token is verified and which roles follow.
type Auth struct {
	// Audience holds the audiences of which a token must name one. Empty means the
	// address of the endpoint that is called (RFC 8707): Public and its path. It is
	// refused where that is not known.
	Audience []string `json:"audience,omitempty" jsonschema:"Audiences of which a token must name one. Default: the address of the endpoint that is called, public_url and its path."`
	// JWT holds the issuers whose signed tokens are accepted. Empty accepts none.
	// One of JWT, Introspection and StaticTokensFile must be given.
	JWT []JWT `json:"jwt,omitempty" jsonschema:"Issuers whose signed access tokens (RFC 9068) are accepted. Default: none."`
	// Introspection holds the issuers that are asked about opaque tokens. Empty
	// asks none.
	Introspection []Introspection `json:"introspection,omitempty" jsonschema:"Issuers that are asked about opaque tokens (RFC 7662). Default: none."`
	// StaticTokensFile names the file with hashes of tokens that the operator made,
	// for development and tests. It is read again when it changes. Empty means none.
	StaticTokensFile string `json:"static_tokens_file,omitempty" jsonschema:"File with the hashes of tokens for development and tests. Default: none."`
	// SharedSubjects says that several issuers mean the same person by the same
	// subject. False wants a prefix for each of them, so that none can name the users
	// of another.
	SharedSubjects bool `json:"shared_subjects,omitempty" jsonschema:"Says that all issuers mean the same person by the same subject. Default: false, several issuers need a subject_prefix each."`
	// ScopesSupported are published as what a client asks for when it logs in; for
	// more it is asked when it needs more. Empty means the scopes of the tools whose
	// action is read, or of all tools where none has an action.
	ScopesSupported []string `json:"scopes_supported,omitempty" jsonschema:"Scopes that clients ask for when they log in; further ones are asked for when they are needed. Default: those of the tools with action read, or of all tools if none has an action."`
	// ScopeIncludes says which scopes a broader one grants as well, and those in turn.
	// Empty leaves it at wildcards.
	ScopeIncludes map[string][]string `json:"scope_includes,omitempty" jsonschema:"Scopes that a broader scope grants as well. Default: none; documents:* grants every documents:ACTION in any case."`
	// Roles gives roles to users, "user:NAME" to "role:NAME"s, beside those of
	// the policy. Empty gives none.
	Roles map[string][]string `json:"roles,omitempty" jsonschema:"Roles of users, user:NAME to a list of role:NAME, beside those of the policy."`
	// RevokedFile lists tokens that do not count any more. Empty takes none back but
	// what their issuers do.
	RevokedFile string `json:"revoked_file,omitempty" jsonschema:"Tokens that do not count any more, one a line: sha256:HEX, jti:ISSUER ID, or sub:ISSUER SUBJECT with or without before=TIME. Read again every 2 s. Default: none."`
	// TokenArgument lets the token argument of a tool call carry the caller's token,
	// and adds it to the schemas of tools. What stands there is read by models and
	// kept in transcripts. False does not.
	TokenArgument bool `json:"token_argument,omitempty" jsonschema:"Accepts the caller's token in the argument token of a tool call, where models and transcripts see it; loopback only. Default: false."`
	// RolesFile names a YAML file of the same form as Roles. It is read again when it
	// changes. Empty means none.
	RolesFile string `json:"roles_file,omitempty" jsonschema:"File of the same form as roles, read again when it changes. Default: none."`
}

// JWT is one issuer of signed access tokens.
type JWT struct {
	// Issuer is what tokens and metadata must name exactly; it is published in the
	// protected-resource metadata. Empty is refused.
	Issuer string `json:"issuer" jsonschema:"Identifier of the authorization server, exactly as its tokens name it, a URL without query and fragment."`
	// JWKSURL is where its keys are. Empty, together with JWKSFile, finds them by the
	// metadata of the issuer (RFC 8414, OpenID Connect Discovery).
	JWKSURL string `json:"jwks_url,omitempty" jsonschema:"Where the issuer's keys are. Default: where its metadata says, on the issuer's own host."`
	// JWKSFile names a file with its keys, which is read again when it changes. Empty
	// means that they are fetched.
	JWKSFile string `json:"jwks_file,omitempty" jsonschema:"File with the issuer's keys, instead of jwks_url. Default: none."`
	// Algorithms are those that may have signed. Empty allows all that can be allowed.
	Algorithms []Algorithm `json:"algorithms,omitempty" jsonschema:"Algorithms that may have signed: RS256, ES256, EdDSA. Default: all three."`
	// RequireATJWT accepts only tokens whose header calls them access tokens (typ
	// at+jwt). False also accepts typ JWT and none, since many issuers send that.
	RequireATJWT bool `json:"require_at_jwt,omitempty" jsonschema:"Accepts only tokens of the type at+jwt (RFC 9068). Default: false, JWT or no type will do."`
	// MaxLifetime is the longest life of a token, from issue to expiry. Zero is 24h.
	MaxLifetime Duration `json:"max_lifetime,omitempty" jsonschema:"Longest life of a token, from issue to expiry. Default: 24h."`
	// MaxStale is how long keys are used that cannot be fetched again. Zero is 24h.
	MaxStale Duration `json:"max_stale,omitempty" jsonschema:"How long keys are used that cannot be fetched again. Default: 24h."`
	// AllowLoopbackHTTP permits plain http on loopback. False refuses it; other
	// hosts always need https.
	AllowLoopbackHTTP bool `json:"allow_loopback_http,omitempty" jsonschema:"Permits plain http for this issuer on loopback. Default: false."`
	// SubjectPrefix stands before the subjects of this issuer, in the policy too.
	// Empty is allowed for the only issuer, and with SharedSubjects.
	SubjectPrefix string `json:"subject_prefix,omitempty" jsonschema:"Text before the subjects of this issuer, such as corp/. Default: none."`
	// RolesClaim is the claim from which roles follow, by way of RolesMap. Dots go
	// one level down; a backslash makes an ordinary character of a dot. Empty means
	// that tokens give no roles.
	RolesClaim string `json:"roles_claim,omitempty" jsonschema:"Claim from which roles follow, such as realm_access.roles; a dot inside a name is written \\. with a backslash. Goes with roles_map. Default: none."`
	// RolesMap gives roles to values of RolesClaim. What it does not name gives none.
	RolesMap map[string][]string `json:"roles_map,omitempty" jsonschema:"Roles that follow from a value of roles_claim, VALUE to a list of role:NAME. Other values give none."`
}

// Introspection is one issuer with an RFC 7662 endpoint.
type Introspection struct {
	// Issuer identifies the authorization server; it is published in the
	// protected-resource metadata. Empty is refused.
	Issuer string `json:"issuer" jsonschema:"Identifier of the authorization server, a URL without query and fragment."`
	// URL is the introspection endpoint. Empty is refused.
	URL string `json:"url" jsonschema:"Introspection endpoint; https, or http on loopback with allow_loopback_http."`
	// ClientID authenticates the sidecar at the endpoint by HTTP Basic. Empty
	// sends no credential.
	ClientID string `json:"client_id,omitempty" jsonschema:"Client id with which the sidecar authenticates at the endpoint. Default: none."`
	// ClientSecretFile names the file with the client's secret. Empty is refused
	// when ClientID is set.
	ClientSecretFile string `json:"client_secret_file,omitempty" jsonschema:"File that holds the secret of client_id."`
	// AllowLoopbackHTTP permits plain http on loopback. False refuses it; other
	// hosts always need https.
	AllowLoopbackHTTP bool `json:"allow_loopback_http,omitempty" jsonschema:"Permits plain http for this issuer on loopback. Default: false."`
	// SubjectPrefix is that of [JWT], as are the two below, which read the answer of
	// the endpoint.
	SubjectPrefix string              `json:"subject_prefix,omitempty" jsonschema:"Text before the subjects of this issuer, such as corp/. Default: none."`
	RolesClaim    string              `json:"roles_claim,omitempty" jsonschema:"Member of the answer from which roles follow, as in jwt. Goes with roles_map. Default: none."`
	RolesMap      map[string][]string `json:"roles_map,omitempty" jsonschema:"Roles that follow from a value of roles_claim, VALUE to a list of role:NAME. Other values give none."`
}

// Upstream is one guarded MCP server.
type Upstream struct {
	// URL is its streamable-HTTP endpoint. Empty needs Command instead.
	URL string `json:"url,omitempty" jsonschema:"Streamable-HTTP endpoint of the server. Either this or command."`
	// Command starts it as a process that speaks MCP over stdio: the program, then
	// its arguments. No shell reads them. Empty needs URL instead.
	Command []string `json:"command,omitempty" jsonschema:"Program and arguments that start the server, which speaks MCP over stdio; no shell reads them. Either this or url."`
	// EnvAllow names the variables of the sidecar's environment that Command gets.
	// Nil means none, or for wrap everything but the sidecar's own.
	EnvAllow []string `json:"env_allow,omitempty" jsonschema:"Variables of the sidecar's environment that the command gets. Default: none (wrap: all but the sidecar's own)."`
	// Shared lets all callers use one process of Command. False starts one for each
	// session, or for each caller where there are no sessions.
	Shared bool `json:"shared,omitempty" jsonschema:"Lets all callers use one process of the command. Default: false, a process for each session or caller."`
	// TLS says by what the server of an https URL is known, and which certificate the
	// sidecar shows to it. Nil means the system's authorities, and none.
	TLS *UpstreamTLS `json:"tls,omitempty" jsonschema:"Authority of the server's certificate, and the certificate that the sidecar shows to it. Default: the system's authorities, no certificate."`
	// Credential is what the sidecar shows to it. Zero shows nothing. There is no
	// way to pass the caller's credential on.
	Credential Credential `json:"credential,omitzero" jsonschema:"The sidecar's own credential for this server. The caller's credential is never passed on."`
	// Broker is the third party whose token of the user is the credential for this
	// server. Nil means Credential.
	Broker *Provider `json:"broker,omitempty" jsonschema:"Third party whose token of the user this server wants in Authorization, in place of credential."`
	// Egress says what the server may reach by the egress proxy. Nil means every public
	// host at port 443 for Command, and nothing for URL.
	Egress *EgressRule `json:"egress,omitempty" jsonschema:"What the server may reach by the egress proxy. Default: every public host at port 443 for command, nothing for url."`
	// AllowPlaintext permits the credential on plain http to a host that is not
	// loopback. False refuses that.
	AllowPlaintext bool `json:"allow_plaintext,omitempty" jsonschema:"Permits the credential on plain http to another host (an isolated network). Default: false."`
}

// Policy names the source of the rules.
type Policy struct {
	// File is a Casbin CSV file. Either this or Database.
	File string `json:"file,omitempty" jsonschema:"Casbin rules as a CSV file. Read again when it changes. Either this or database."`
	// Database is where several sidecars share their rules.
	Database *Database `json:"database,omitempty" jsonschema:"PostgreSQL database with the rules, which several sidecars share; {} means the defaults. Either this or file."`
	// MaxAge is how long a policy that its source does not confirm stays in force. Nil
	// means DefaultMaxAge, zero for ever.
	MaxAge *Duration `json:"max_age,omitempty" jsonschema:"How long the policy stays in force while its source cannot be read, or holds one that cannot be used; then everything is denied. 0s is for ever. Default: 5m."`
}

// Database says how the policy's database is reached.
type Database struct {
	// URLEnv is the variable with the URL. Empty means EnvDatabase.
	URLEnv string `json:"url_env,omitempty" jsonschema:"Variable of the sidecar's own environment that holds the URL: postgres://USER:PASSWORD@HOST:5432/DATABASE, with sslmode and sslrootcert as parameters. No server gets it. Default: SIDECAR_DATABASE_URL."`
	// AllowPlaintext permits sslmode=disable to another host.
	AllowPlaintext bool `json:"allow_plaintext,omitempty" jsonschema:"Permits sslmode=disable to another host (an isolated network). Default: false."`
	// InsecureTLS permits sslmode=require.
	InsecureTLS bool `json:"insecure_tls,omitempty" jsonschema:"Permits sslmode=require, which does not verify who answers. Default: false."`
}

// EnvDatabase is the variable with the URL of the policy's database.
const EnvDatabase = "SIDECAR_DATABASE_URL"

// Variable is URLEnv with its default.
func (d *Database) Variable() string { return cmp.Or(d.URLEnv, EnvDatabase) }

// DefaultMaxAge is the max_age of a policy that does not say one.
const DefaultMaxAge = Duration(5 * time.Minute)

// Age is MaxAge with its default.
func (p *Policy) Age() time.Duration {
	if p.MaxAge == nil {
		return time.Duration(DefaultMaxAge)
	}
	return time.Duration(*p.MaxAge)
}

// Tool says what one tool means and how its calls are guarded.
type Tool struct {
	// Resource is what the tool acts on. Empty, together with Action, means the
	// resource upstream/tool.
	Resource string `json:"resource,omitempty" jsonschema:"What the tool acts on, as the policy names it. Goes with action. Default: upstream/tool."`
	// Action is what the tool does. Empty, together with Resource, means call.
	Action string `json:"action,omitempty" jsonschema:"What the tool does, as the policy names it. Goes with resource. Default: call."`
	// Scopes must all be granted by the token. Empty needs none.
	Scopes []string `json:"scopes,omitempty" jsonschema:"Scopes that the token must grant, all of them. Default: none."`
	// Args binds guards to arguments by name. Empty binds none.
	Args map[string]Arg `json:"args,omitempty" jsonschema:"Guards of single arguments, by name."`
	// Consent asks before the call. Zero follows the preset and the tool's own
	// annotations.
	Consent Consent `json:"consent,omitempty" jsonschema:"confirm wants confirm=true in the call; that is no consent of a human. Default: by preset and annotations."`
	// InjectArgs overwrites arguments, whatever the client claims. The only
	// value is SubjectValue. Empty overwrites none.
	InjectArgs map[string]string `json:"inject_args,omitempty" jsonschema:"Arguments that the sidecar sets, whatever the client claims. The only value is $subject."`
	// Handles names members of the tool's results that are handles: only who was
	// given one may use it, where Arg.Handle asks for that. Empty names none.
	Handles []string `json:"handles,omitempty" jsonschema:"Members of results that are handles of what the server keeps; each belongs to the caller who was given it. Default: none."`
	// Wrap says when results are put between delimiters. Zero is WrapFlagged.
	Wrap Wrap `json:"wrap,omitempty" jsonschema:"When results are put between delimiters. Default: flagged."`
	// TrustedBlocks are the indexes of content blocks that the server itself
	// wrote. Empty trusts none.
	TrustedBlocks []int `json:"trusted_blocks,omitempty" jsonschema:"Indexes of content blocks that the server itself writes. Default: none."`
	// Source names the origin of results; {name} stands for an argument. Empty
	// means the tool's name.
	Source string `json:"source,omitempty" jsonschema:"Origin named in the delimiters; {name} stands for the argument of that name. Default: upstream/tool."`
	// Hide takes the tool out of lists and answers its calls as unknown. False
	// shows it.
	Hide bool `json:"hide,omitempty" jsonschema:"Takes the tool away: not listed, calls answered as unknown. Default: false."`
	// Guards sets modes for this tool alone. Unset modes follow Config.Guards,
	// then the preset.
	Guards ToolGuards `json:"guards,omitzero" jsonschema:"Modes of guards for this tool. Default: as for all tools."`
}

// Arg says what an argument may hold. Its zero value is refused. At most one of Enum,
// SSRF, Command and Handle says what it is; the others bound its value.
type Arg struct {
	// Enum maps each accepted value to the constant that the upstream receives.
	// Nil binds no list; an empty one is refused.
	Enum map[string]string `json:"enum,omitempty" jsonschema:"Accepted values, each with the constant that the server receives instead."`
	// SSRF checks the argument as a URL that the upstream will fetch. Nil does
	// not bind the check.
	SSRF *SSRF `json:"ssrf,omitempty" jsonschema:"The argument is a URL that the server will fetch; {} means the defaults."`
	// Command says that the value reaches a command line as free text. False does not
	// bind the check.
	Command bool `json:"command,omitempty" jsonschema:"The argument is free text that reaches a command line: what would start a command, expand, redirect or act as an option is refused. A list (enum) is safer. Default: false."`
	// Handle wants a handle that a result has given to the same caller. False does
	// not bind the check.
	Handle bool `json:"handle,omitempty" jsonschema:"The argument must be a handle that a result has given to the same caller. Default: false."`
	// Pattern must match the whole value. Empty matches everything.
	Pattern string `json:"pattern,omitempty" jsonschema:"Regular expression (RE2 syntax) that the whole value must match. Default: any value."`
	// Prefix must begin the value. Nil allows every beginning.
	Prefix []string `json:"prefix,omitempty" jsonschema:"Texts of which the value must begin with one and stay below it: steps upwards are refused in every spelling. Default: any beginning."`
	// Hosts are the only host names allowed. Nil does not bind the check.
	Hosts []string `json:"hosts,omitempty" jsonschema:"The argument is a host name, and these are allowed; *.example.com allows every name below example.com. For URLs there is ssrf."`
	// Min and Max bound a number. Nil does not.
	Min *Decimal `json:"min,omitempty" jsonschema:"The argument is a number, and this is the smallest. Compared exactly."`
	Max *Decimal `json:"max,omitempty" jsonschema:"The argument is a number, and this is the largest. Compared exactly."`
	// MaxLength bounds the value, in characters. Zero does not.
	MaxLength int `json:"max_length,omitempty" jsonschema:"Most characters of the value. Default: what limits allow."`
	// Owner lets the argument say whose the thing is. At most one of a tool's arguments.
	Owner bool `json:"owner,omitempty" jsonschema:"The argument says whose the thing is. The policy is asked about ACTION:own where that is the caller (his subject, or with handle what he was given), and about ACTION:any otherwise. Default: false."`
	// Required wants the argument to be there.
	Required bool `json:"required,omitempty" jsonschema:"The argument must be given. Default: false."`
}

// SSRF narrows the check of a URL argument. Its zero value is the default check.
type SSRF struct {
	// Hosts are the only hosts allowed; *.example.com allows every name below
	// example.com. Empty allows every public one.
	Hosts []string `json:"hosts,omitempty" jsonschema:"The only hosts allowed; *.example.com allows every name below example.com. Default: every host with public addresses."`
	// Ports are the ports allowed. Empty allows 443 only.
	Ports []int `json:"ports,omitempty" jsonschema:"Ports allowed. Default: 443."`
}

// Guards are the modes of the guards that look at every message.
type Guards struct {
	// Secrets redacts secrets in answers. Zero follows the preset.
	Secrets Mode `json:"secrets,omitempty" jsonschema:"Secrets in answers. Default: by preset."`
	// Injection wraps and flags untrusted text. Zero follows the preset.
	Injection Mode `json:"injection,omitempty" jsonschema:"Prompt injection in answers and descriptions. Default: by preset."`
	// Terminal makes visible what is hidden in text. Zero follows the preset.
	Terminal Mode `json:"terminal,omitempty" jsonschema:"Control characters, invisible ones and those that turn the direction of writing, in answers and descriptions: made visible. Default: by preset."`
	// Schema holds structured results to the schema that their tool publishes. Zero
	// follows the preset.
	Schema Mode `json:"schema,omitempty" jsonschema:"Structured results that do not fit their tool's outputSchema. Default: by preset."`
	// InputSchema holds arguments to the schema that their tool publishes. Zero follows
	// the preset.
	InputSchema Mode `json:"input_schema,omitempty" jsonschema:"Arguments that do not fit their tool's inputSchema. Default: by preset."`
	// MarkerWriteback blocks calls that would write back what other guards put
	// into an answer. Zero follows the preset.
	MarkerWriteback Mode `json:"marker_writeback,omitempty" jsonschema:"Marks of redaction and delimiters in arguments, which would be written over the original. Default: by preset."`
	// InputSecrets looks for secrets in what clients send. Zero observes.
	InputSecrets Mode `json:"input_secrets,omitempty" jsonschema:"Secrets in what clients send: arguments of tools, prompts and completions, addresses of resources, answers to what servers ask. Default: observe."`
	// Delimiter is the form of the delimiters around results. Zero is DelimiterPlain.
	Delimiter Delimiter `json:"delimiter,omitempty" jsonschema:"Form of the delimiters around results: plain, or nonce, with random text in both that is new in each message; then no two answers are the same bytes. Default: plain."`
}

// ToolGuards are the modes of guards for one tool.
type ToolGuards struct {
	// Secrets redacts secrets in answers. Zero follows Guards.Secrets.
	Secrets Mode `json:"secrets,omitempty" jsonschema:"Secrets in answers. Default: as for all tools."`
	// Injection wraps and flags untrusted text. Zero follows Guards.Injection.
	Injection Mode `json:"injection,omitempty" jsonschema:"Prompt injection in answers and descriptions. Default: as for all tools."`
	// Terminal makes visible what is hidden in text. Zero follows Guards.Terminal.
	Terminal Mode `json:"terminal,omitempty" jsonschema:"Control characters and invisible ones in answers and descriptions. Default: as for all tools."`
	// MarkerWriteback blocks what would be written back. Zero follows
	// Guards.MarkerWriteback.
	MarkerWriteback Mode `json:"marker_writeback,omitempty" jsonschema:"Marks of redaction and delimiters in arguments. Default: as for all tools."`
	// InputSecrets looks for secrets in arguments. Zero follows Guards.InputSecrets.
	InputSecrets Mode `json:"input_secrets,omitempty" jsonschema:"Secrets in arguments. Default: as for all tools."`
	// Argument holds arguments to their pattern, prefix, hosts and range. Zero follows
	// the preset.
	Argument Mode `json:"argument,omitempty" jsonschema:"Bounds of arguments: pattern, prefix, hosts, min, max, max_length, required. Default: by preset."`
	// Command checks enum arguments. Zero follows the preset.
	Command Mode `json:"command,omitempty" jsonschema:"Command injection in bound arguments. Default: by preset."`
	// SSRF checks URL arguments. Zero follows the preset.
	SSRF Mode `json:"ssrf,omitempty" jsonschema:"Server-side request forgery by URL arguments. Default: by preset."`
	// Consent asks before destructive calls. Zero follows the preset.
	Consent Mode `json:"consent,omitempty" jsonschema:"Consent before destructive calls. Default: by preset."`
	// Schema holds structured results to the published schema. Zero follows
	// Guards.Schema.
	Schema Mode `json:"schema,omitempty" jsonschema:"Structured results that do not fit the tool's outputSchema. Default: as for all tools."`
	// InputSchema holds arguments to the published schema. Zero follows
	// Guards.InputSchema.
	InputSchema Mode `json:"input_schema,omitempty" jsonschema:"Arguments that do not fit the tool's inputSchema. Default: as for all tools."`
}

// Limits are upper bounds; the value itself is still allowed. Validate refuses a
// zero in each of them but the rate: there is no "unlimited".
type Limits struct {
	// RequestBody bounds one message from a client, in bytes.
	RequestBody ByteSize `json:"request_body,omitempty" jsonschema:"One message from a client. Default: 4MiB."`
	// Result bounds one message from an upstream, in bytes.
	Result ByteSize `json:"result,omitempty" jsonschema:"One message from a server. Default: 16MiB."`
	// Depth bounds how deep JSON may nest.
	Depth int `json:"depth,omitempty" jsonschema:"How deep JSON may nest. Default: 64."`
	// Keys bounds the object members of one message.
	Keys int `json:"keys,omitempty" jsonschema:"Object members in one message. Default: 10000."`
	// Headers bounds the header block of one request, in bytes.
	Headers ByteSize `json:"headers,omitempty" jsonschema:"Header block of one request. Default: 16KiB."`
	// Tools bounds the tools of one upstream.
	Tools int `json:"tools,omitempty" jsonschema:"Tools of one server. Default: 1024."`
	// ToolDefinition bounds one entry of a tool list, in bytes.
	ToolDefinition ByteSize `json:"tool_definition,omitempty" jsonschema:"One entry of a tool list. Default: 64KiB."`
	// SessionsPerPrincipal bounds open sessions of one principal.
	SessionsPerPrincipal int `json:"sessions_per_principal,omitempty" jsonschema:"Open sessions of one principal. Default: 32."`
	// ConcurrentCallsPerPrincipal bounds calls in flight of one principal.
	ConcurrentCallsPerPrincipal int `json:"concurrent_calls_per_principal,omitempty" jsonschema:"Calls in flight of one principal. Default: 64."`
	// RequestsPerMinutePerPrincipal bounds the requests of one principal in the long
	// run. Zero does not bound them.
	RequestsPerMinutePerPrincipal int `json:"requests_per_minute_per_principal,omitempty" jsonschema:"Requests of one principal in a minute, in the long run. Default: 0, which does not bound them."`
	// RequestBurst is how many of them may come at once. Zero means what ten
	// seconds allow.
	RequestBurst int `json:"request_burst,omitempty" jsonschema:"Requests that may come at once where requests_per_minute_per_principal is set. Default: what ten seconds allow."`
	// CallIdleTimeout ends a call that has been silent for so long; progress
	// starts it again.
	CallIdleTimeout Duration `json:"call_idle_timeout,omitempty" jsonschema:"How long a call may be silent; progress starts the time again. Default: 5m."`
}

// Audit says where outcome records go.
type Audit struct {
	// File is the JSON Lines file. Empty means audit.jsonl in the state folder;
	// AuditFile resolves it.
	File string `json:"file,omitempty" jsonschema:"JSON Lines file. Default: audit.jsonl in state_dir."`
	// Stderr copies each record to stderr. False does not.
	Stderr bool `json:"stderr,omitempty" jsonschema:"Copies each record to stderr. Default: false."`
	// Sync says which records wait for the disk. Zero is SyncIntent.
	Sync Sync `json:"sync,omitempty" jsonschema:"Which records wait for the disk: intent (those before destructive calls; others are there within a second) or always. Default: intent."`
}

// SubjectValue in Tool.InjectArgs stands for the caller's name without "user:".
const SubjectValue = "$subject"

// Default is the configuration before a file, the environment or a flag said
// anything. It lacks an upstream and a way to authenticate, so it is not valid.
func Default() *Config {
	return &Config{
		Version: 1,
		Preset:  PresetBalanced,
		Listen:  "127.0.0.1:8811",
		Limits: Limits{
			RequestBody:                 4 << 20,
			Result:                      16 << 20,
			Depth:                       64,
			Keys:                        10_000,
			Headers:                     16 << 10,
			Tools:                       1024,
			ToolDefinition:              64 << 10,
			SessionsPerPrincipal:        32,
			ConcurrentCallsPerPrincipal: 64,
			CallIdleTimeout:             defaultCallIdleTimeout,
		},
	}
}
