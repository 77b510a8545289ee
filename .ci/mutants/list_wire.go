package main

var wireTests = []string{"./proxy/wire", "./proxy/sidecar"}

// wireMutants weaken the reading of messages and streams.
var wireMutants = []mutant{
	{name: "wire: duplicate members pass", file: "proxy/wire/message.go",
		old: "jsontext.NewDecoder(bytes.NewBuffer(raw))", new: "jsontext.NewDecoder(bytes.NewBuffer(raw), jsontext.AllowDuplicateNames(true))", pkgs: wireTests},
	{name: "wire: invalid UTF-8 passes", file: "proxy/wire/message.go",
		old: "jsontext.NewDecoder(bytes.NewBuffer(raw))", new: "jsontext.NewDecoder(bytes.NewBuffer(raw), jsontext.AllowInvalidUTF8(true))", pkgs: wireTests},
	{name: "wire: a second message passes", file: "proxy/wire/message.go",
		old: "if _, err := s.dec.ReadToken(); !errors.Is(err, io.EOF) {", new: "if _, err := s.dec.ReadToken(); false && !errors.Is(err, io.EOF) {", pkgs: wireTests},
	{name: "wire: any depth passes", file: "proxy/wire/message.go", old: "s.depth > s.lim.Depth", new: "false", pkgs: wireTests},
	{name: "wire: depth is off by one", file: "proxy/wire/message.go", old: "s.depth > s.lim.Depth", new: "s.depth > s.lim.Depth+1", pkgs: wireTests},
	{name: "wire: any number of members passes", file: "proxy/wire/message.go", old: "s.keys > s.lim.Keys", new: "false", pkgs: wireTests},
	{name: "wire: any number of values passes", file: "proxy/wire/message.go", old: "len(s.nodes) >= s.lim.Values", new: "false", pkgs: wireTests},
	{name: "wire: NUL in a name passes", file: "proxy/wire/message.go", old: "if bytes.Contains(v, []byte(`\\u0000`))", new: "if false && bytes.Contains(v, []byte(`\\u0000`))", pkgs: wireTests},
	{name: "wire: batches are only no object", file: "proxy/wire/message.go", old: "if m.Nodes[0].Kind == '[' {", new: "if false {", pkgs: wireTests},
	{name: "wire: case variants of the envelope pass", file: "proxy/wire/message.go",
		old: `if FoldsTo(name, "jsonrpc", "id", "method", "params", "result", "error") {`, new: "if false {", pkgs: wireTests},
	{name: "wire: Unicode case variants pass", file: "proxy/wire/message.go", old: "name != w && strings.EqualFold(name, w)", new: "name != w && strings.ToLower(name) == w", pkgs: wireTests},
	{name: "wire: any version of JSON-RPC passes", file: "proxy/wire/message.go", old: `version == Absent || m.Text(version) != "2.0"`, new: "version == Absent", pkgs: wireTests},
	{name: "wire: any id passes", file: "proxy/wire/message.go", old: "if m.ID != Absent && m.Nodes[m.ID].Kind != '\"'", new: "if false && m.Nodes[m.ID].Kind != '\"'", pkgs: wireTests},
	{name: "wire: a request with a result passes", file: "proxy/wire/message.go", old: "if m.Result != Absent || m.Err != Absent {", new: "if false {", pkgs: wireTests},
	{name: "wire: result and error together pass", file: "proxy/wire/message.go", old: "(m.Result == Absent) == (m.Err == Absent)", new: "m.Result == Absent && m.Err == Absent", pkgs: wireTests},
	{name: "wire: params may be a list", file: "proxy/wire/message.go", old: "if m.Params != Absent && m.Nodes[m.Params].Kind != '{' {", new: "if false {", pkgs: wireTests},
	{name: "wire: events of any size pass", file: "proxy/wire/sse.go", old: "len(data)+len(value) > e.max", new: "false", pkgs: wireTests},
	{name: "wire: lines of any length pass", file: "proxy/wire/sse.go", old: `len(long)+n > e.max+len("data: ")`, new: "false", pkgs: wireTests},
	{name: "wire: a cut event counts", file: "proxy/wire/sse.go", old: "line, err := e.line()\n\t\tif err != nil {\n\t\t\treturn Event{}, err\n\t\t}",
		new: "line, err := e.line()\n\t\tif err != nil {\n\t\t\tif seen {\n\t\t\t\treturn Event{Data: data}, nil\n\t\t\t}\n\t\t\treturn Event{}, err\n\t\t}", pkgs: wireTests},
	{name: "wire: overlapping patches are applied", file: "proxy/wire/patch.go", old: "case p.Start < from:", new: "case false:", pkgs: []string{"./proxy/wire"}},
}
