package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// legacyRevision is the newest one that the npm servers speak.
const legacyRevision = "2025-11-25"

// npmServer is one of the reference servers and what is asked of it. A tool,
// prompt or template without a row fails the run: none may go untested.
type npmServer struct {
	name     string
	args     []string // beside the script; DIR is the folder of the run
	http     bool     // it also offers streamable HTTP
	begin    func(*client) error
	tools    map[string][]string // arguments of each call; DIR is the folder
	tasks    []string            // tools that are also called as a task
	prompts  map[string]string   // arguments
	expand   map[string][]string // URIs of each template
	complete []string            // parameters of completion/complete
	uris     []string            // resources that no list shows
	// blocked are the calls that a guard refuses with preset balanced, by step,
	// and what it says. They are made through the sidecar alone then, so that the
	// rest stays comparable.
	blocked map[string]string
}

const dirMark = "DIR"

var npmServers = []npmServer{everythingServer, filesystemServer, memoryServer}

var everythingServer = npmServer{
	name: "server-everything",
	http: true,
	// It asks for the roots when it likes, so everything else waits for that.
	begin: func(c *client) error { return c.question("roots/list", 1) },
	tools: map[string][]string{
		"echo":                              {`{"message":"grüße 🙂 \u0000 9007199254740993"}`, `{}`, `{"message":7}`},
		"get-annotated-message":             {`{"messageType":"error","includeImage":true}`, `{"messageType":"success"}`, `{"messageType":"debug"}`},
		"get-env":                           {`{}`},
		"get-resource-links":                {`{"count":4}`},
		"get-resource-reference":            {`{"resourceType":"Text","resourceId":1}`, `{"resourceType":"Blob","resourceId":2}`, `{"resourceType":"Text","resourceId":-1}`},
		"get-roots-list":                    {`{}`},
		"get-structured-content":            {`{"location":"Chicago"}`, `{"location":"Atlantis"}`},
		"get-sum":                           {`{"a":9007199254740993,"b":1e3}`, `{"a":"1","b":2}`},
		"get-tiny-image":                    {`{}`},
		"gzip-file-as-resource":             {`{"name":"a.gz","data":"data:text/plain,hello","outputType":"resource"}`, `{"name":"b.gz","data":"data:text/plain,hello"}`},
		"simulate-research-query":           {`{"topic":"tea"}`},
		"toggle-simulated-logging":          {`{}`, `{}`},
		"toggle-subscriber-updates":         {`{}`, `{}`},
		"trigger-elicitation-request":       {`{}`},
		"trigger-elicitation-request-async": {`{}`},
		"trigger-long-running-operation":    {`{"duration":1,"steps":4}`},
		"trigger-sampling-request":          {`{"prompt":"What is the capital of France?","maxTokens":20}`},
		"trigger-sampling-request-async":    {`{"prompt":"What is the capital of France?"}`},
		"trigger-url-elicitation":           {`{"url":"https://example.com/connect","elicitationId":"e-1"}`, `{"url":"https://example.com/connect","elicitationId":"e-2","errorPath":true}`},
	},
	tasks: []string{`"simulate-research-query","arguments":{"topic":"python","ambiguous":true}`},
	prompts: map[string]string{
		"simple-prompt":      ``,
		"args-prompt":        `{"city":"Paris","state":"Texas"}`,
		"completable-prompt": `{"department":"Sales","name":"Eve"}`,
		"resource-prompt":    `{"resourceType":"Text","resourceId":"3"}`,
	},
	expand: map[string][]string{
		"demo://resource/dynamic/text/{resourceId}": {"demo://resource/dynamic/text/1", "demo://resource/dynamic/text/none"},
		"demo://resource/dynamic/blob/{resourceId}": {"demo://resource/dynamic/blob/2"},
	},
	complete: []string{
		`{"ref":{"type":"ref/prompt","name":"completable-prompt"},"argument":{"name":"department","value":"S"}}`,
		`{"ref":{"type":"ref/prompt","name":"completable-prompt"},"argument":{"name":"name","value":""},"context":{"arguments":{"department":"Sales"}}}`,
		`{"ref":{"type":"ref/resource","uri":"demo://resource/dynamic/text/{resourceId}"},"argument":{"name":"resourceId","value":"7"}}`,
	},
	uris: []string{"demo://resource/session/b.gz", "demo://resource/none"},
	// Its schema calls the argument a URI, and a data: URI is none that may be
	// fetched.
	blocked: map[string]string{
		"gzip-file-as-resource 1": "blocked by SSRF guard: only https URLs are allowed",
		"gzip-file-as-resource 2": "blocked by SSRF guard: only https URLs are allowed",
	},
}

var filesystemServer = npmServer{
	name: "server-filesystem",
	args: []string{dirMark},
	// It asks for the roots as soon as it can and works in their folder then;
	// the client's root does not exist, so it keeps the one of its arguments.
	begin: func(c *client) error { return c.question("roots/list", 1) },
	tools: map[string][]string{
		"read_file":                 {`{"path":"DIR/notes.txt"}`, `{"path":"DIR/none.txt"}`},
		"read_text_file":            {`{"path":"DIR/notes.txt"}`, `{"path":"DIR/notes.txt","head":1}`, `{"path":"/etc/passwd"}`, `{"path":"DIR/deploy.env"}`},
		"read_media_file":           {`{"path":"DIR/dot.png"}`},
		"read_multiple_files":       {`{"paths":["DIR/notes.txt","DIR/none.txt"]}`},
		"write_file":                {`{"path":"DIR/new.txt","content":"line 1\r\n\tline 2 – \"quoted\" \\ 🙂\n"}`},
		"edit_file":                 {`{"path":"DIR/notes.txt","edits":[{"oldText":"second","newText":"2nd"}],"dryRun":true}`, `{"path":"DIR/notes.txt","edits":[{"oldText":"second","newText":"2nd"}]}`},
		"create_directory":          {`{"path":"DIR/sub"}`},
		"list_directory":            {`{"path":"DIR"}`},
		"list_directory_with_sizes": {`{"path":"DIR"}`},
		"directory_tree":            {`{"path":"DIR"}`},
		"move_file":                 {`{"source":"DIR/old.txt","destination":"DIR/moved.txt"}`},
		"search_files":              {`{"path":"DIR","pattern":"*.txt"}`},
		"get_file_info":             {`{"path":"DIR/notes.txt"}`},
		"list_allowed_directories":  {`{}`},
	},
}

var memoryServer = npmServer{
	name: "server-memory",
	tools: map[string][]string{
		"create_entities":     {`{"entities":[{"name":"Ada","entityType":"person","observations":["writes programs","ﬁne 🙂"]},{"name":"Engine","entityType":"machine","observations":[]}]}`},
		"create_relations":    {`{"relations":[{"from":"Ada","to":"Engine","relationType":"describes"}]}`},
		"add_observations":    {`{"observations":[{"entityName":"Ada","contents":["likes mathematics"]}]}`, `{"observations":[{"entityName":"Nobody","contents":["x"]}]}`},
		"read_graph":          {`{}`},
		"search_nodes":        {`{"query":"mathematics"}`},
		"open_nodes":          {`{"names":["Engine"]}`},
		"delete_observations": {`{"deletions":[{"entityName":"Ada","observations":["likes mathematics"]}]}`},
		"delete_relations":    {`{"relations":[{"from":"Ada","to":"Engine","relationType":"describes"}]}`},
		"delete_entities":     {`{"entityNames":["Engine"]}`},
	},
	uris: []string{"memory://none"},
}

// capabilities make the servers use every feature.
const capabilities = `{"roots":{"listChanged":true},"sampling":{},"elicitation":{"form":{},"url":{}},"tasks":{"requests":{"sampling":{"createMessage":{}},"elicitation":{"create":{}}}},"experimental":{"x":{"big":9007199254740993}}}`

// play asks everything of a server. It is the same, whatever is in between.
func (s npmServer) play(c *client, dir string) error {
	for _, part := range []func(*client, string) error{s.open, s.playTools, s.playTasks, s.playPrompts, s.playResources, s.playOthers} {
		if err := part(c, dir); err != nil {
			return err
		}
	}
	_, err := c.call("ping at the end", "ping", "")
	return err
}

// playBlocked makes the calls that a guard refuses.
func (s npmServer) playBlocked(c *client, dir string) error {
	for name, calls := range s.tools {
		for i, arguments := range calls {
			step := fmt.Sprintf("%s %d", name, i+1)
			want := s.blocked[step]
			if want == "" {
				continue
			}
			e, err := c.tool(step, name, strings.ReplaceAll(arguments, dirMark, dir), "")
			if err != nil {
				return err
			}
			if got, err := firstText(e); err != nil || got != want {
				return fmt.Errorf("%s says %q instead of %q", step, got, want)
			}
		}
	}
	return nil
}

func (s npmServer) open(c *client, _ string) error {
	if _, err := c.call("initialize", "initialize", `{"protocolVersion":"`+legacyRevision+`","capabilities":`+capabilities+`,"clientInfo":{"name":"conformance","version":"1"}}`); err != nil {
		return err
	}
	if err := c.notify("notifications/initialized"); err != nil {
		return err
	}
	if err := c.link.listen(c.ctx); err != nil {
		return err
	}
	if s.begin == nil {
		return nil
	}
	return s.begin(c)
}

// list asks for every page of a list and returns its entries.
func list[T any](c *client, method, member string) ([]T, error) {
	var all []T
	cursor := ""
	for page := 1; ; page++ {
		e, err := c.call(fmt.Sprintf("%s %d", method, page), method, cursor)
		if err != nil || e.Error != nil {
			return nil, err // a server without them says so, and that is compared
		}
		var fields map[string]json.RawMessage
		var entries []T
		if err := json.Unmarshal(e.Result, &fields); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(fields[member], &entries); err != nil {
			return nil, fmt.Errorf("%s: %w", method, err)
		}
		all = append(all, entries...)
		next := fields["nextCursor"]
		if next == nil {
			return all, nil
		}
		cursor = `{"cursor":` + string(next) + `}`
	}
}

// askForTools lists the tools and notes which of them want to be confirmed.
func (s npmServer) askForTools(c *client) error {
	tools, err := list[struct {
		Name        string
		InputSchema struct{ Properties map[string]json.RawMessage }
	}](c, "tools/list", "tools")
	if err != nil {
		return err
	}
	for _, t := range tools {
		if len(s.tools[t.Name]) == 0 {
			return fmt.Errorf("%s has a tool %q that nothing calls", s.name, t.Name)
		}
		_, c.confirm[t.Name] = t.InputSchema.Properties["confirm"]
	}
	if len(tools) != len(s.tools) {
		return fmt.Errorf("%s lists %d tools, %d are known", s.name, len(tools), len(s.tools))
	}
	return nil
}

func (s npmServer) playTools(c *client, dir string) error {
	if err := s.askForTools(c); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(s.tools)) {
		for i, arguments := range s.tools[name] {
			step := fmt.Sprintf("%s %d", name, i+1)
			if c.guarded && s.blocked[step] != "" {
				continue
			}
			more := fmt.Sprintf(`,"_meta":{"progressToken":%q,"x":1e3}`, step)
			if _, err := c.tool(step, name, strings.ReplaceAll(arguments, dirMark, dir), more); err != nil {
				return err
			}
		}
	}
	_, err := c.tool("unknown tool", "no_such_tool", "{}", "")
	return err
}

// playTasks calls tools as tasks. tasks/result waits, so that no polling makes
// one run longer than another.
func (s npmServer) playTasks(c *client, _ string) error {
	for i, call := range s.tasks {
		e, err := c.call(fmt.Sprintf("task %d", i+1), "tools/call", `{"name":`+call+`,"task":{"ttl":60000}}`)
		if err != nil {
			return err
		}
		var made struct{ Task struct{ TaskID string } }
		if err := json.Unmarshal(e.Result, &made); err != nil || made.Task.TaskID == "" {
			return fmt.Errorf("task %d: no task but %s%s", i+1, e.Result, e.Error)
		}
		id := fmt.Sprintf(`{"taskId":%q}`, made.Task.TaskID)
		for _, method := range []string{"tasks/result", "tasks/get", "tasks/cancel"} {
			if _, err := c.call(fmt.Sprintf("task %d %s", i+1, method), method, id); err != nil {
				return err
			}
		}
		if _, err := c.call(fmt.Sprintf("task %d tasks/list", i+1), "tasks/list", ""); err != nil {
			return err
		}
	}
	return nil
}

func (s npmServer) playPrompts(c *client, _ string) error {
	prompts, err := list[struct{ Name string }](c, "prompts/list", "prompts")
	if err != nil {
		return err
	}
	for _, p := range prompts {
		arguments, known := s.prompts[p.Name]
		if !known {
			return fmt.Errorf("%s has a prompt %q that nothing gets", s.name, p.Name)
		}
		if arguments != "" {
			arguments = `,"arguments":` + arguments
		}
		if _, err := c.call("prompt "+p.Name, "prompts/get", fmt.Sprintf(`{"name":%q%s}`, p.Name, arguments)); err != nil {
			return err
		}
	}
	if len(prompts) != len(s.prompts) {
		return fmt.Errorf("%s lists %d prompts, %d are known", s.name, len(prompts), len(s.prompts))
	}
	_, err = c.call("unknown prompt", "prompts/get", `{"name":"no such prompt"}`)
	return err
}

func (s npmServer) playResources(c *client, _ string) error {
	uris := s.uris
	resources, err := list[struct{ URI string }](c, "resources/list", "resources")
	if err != nil {
		return err
	}
	for _, r := range resources {
		uris = append(uris, r.URI)
	}
	templates, err := list[struct{ URITemplate string }](c, "resources/templates/list", "resourceTemplates")
	if err != nil {
		return err
	}
	for _, t := range templates {
		if len(s.expand[t.URITemplate]) == 0 {
			return fmt.Errorf("%s has a template %q that nothing reads", s.name, t.URITemplate)
		}
		uris = append(uris, s.expand[t.URITemplate]...)
	}
	for i, uri := range uris {
		if _, err := c.call(fmt.Sprintf("read %d %s", i+1, uri), "resources/read", fmt.Sprintf(`{"uri":%q}`, uri)); err != nil {
			return err
		}
	}
	return nil
}

// playOthers uses what is left: subscriptions, log levels, completion, and what
// the server does not know.
func (s npmServer) playOthers(c *client, _ string) error {
	calls := []struct{ method, params string }{
		{"logging/setLevel", `{"level":"debug"}`},
		{"resources/subscribe", `{"uri":"demo://resource/dynamic/text/1"}`},
	}
	if _, has := s.tools["toggle-subscriber-updates"]; has {
		calls = append(calls, []struct{ method, params string }{
			{"tools/call", `{"name":"toggle-subscriber-updates","arguments":{}}`},
			{"tools/call", `{"name":"toggle-subscriber-updates","arguments":{}}`},
			{"tools/call", `{"name":"toggle-simulated-logging","arguments":{}}`},
			{"tools/call", `{"name":"toggle-simulated-logging","arguments":{}}`},
		}...)
	}
	calls = append(calls, struct{ method, params string }{"resources/unsubscribe", `{"uri":"demo://resource/dynamic/text/1"}`})
	for _, params := range s.complete {
		calls = append(calls, struct{ method, params string }{"completion/complete", params})
	}
	for i, call := range calls {
		if _, err := c.call(fmt.Sprintf("other %d %s", i+1, call.method), call.method, call.params); err != nil {
			return err
		}
	}
	return nil
}
