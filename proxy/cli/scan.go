package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"mcp-sidecar/guards"
	"mcp-sidecar/proxy/scan"
)

// maxScanLine bounds a line to be scanned, in bytes.
const maxScanLine = 16 << 20

func scanCommand(io Streams) *cobra.Command {
	var f scanFlags
	c := &cobra.Command{
		Use:   "scan [--upstream URL | -c FILE | -- COMMAND ARGS…]",
		Short: "Ask the guards about texts, one a line, or about what a server offers",
		Long: `Without a server, scan reads lines of JSON from standard input,

  {"id":"1","kind":"secret","text":"…"}

and answers each at once with a line, in order:

  {"id":"1","flagged":true,"score":1,"findings":[{"rule":"jwt","start":3,"end":99}],"redacted":"…"}

kind is prompt_injection, secret, ssrf or command; other members are ignored. start and
end are bytes of the text; of an encoded secret they are those of its encoded form. The
score goes from 0 to 1, and is one of the two where a rule decides. redacted is the text
without credentials, whatever was asked. No name is resolved and nothing is sent.
A line that cannot be read, that is longer than 16 MiB, or that has no id is answered
with {"error":"…","line":N}, and the rest is read. Blank lines are skipped.

With a server (--upstream, a command, or all servers of FILE), scan asks it for its tools,
prompts, resources and instructions, calls nothing, and reports texts that try to steer a
model, credentials in them, names that look alike or that another server has too, and
arguments that take any command, URL, path or credential. With FILE it is silent about
arguments that FILE bounds.

Exit codes: 0 every line was read, whatever was found; nothing to report about a server ·
1 standard input or output broke · 2 usage · 3 configuration invalid · 4 a server could
not be asked · 5 a line could not be read; something to report about a server.`,
		Example: `  echo '{"id":"1","kind":"ssrf","text":"https://[::ffff:127.0.0.1]/"}' | mcp-sidecar scan
  mcp-sidecar scan --upstream http://127.0.0.1:3001/mcp
  mcp-sidecar scan --sarif -- npx -y @modelcontextprotocol/server-filesystem /srv/docs`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			f.command = args
			if err := f.check(c.ArgsLenAtDash()); err != nil {
				return err
			}
			if !f.server() {
				return untilEnd(c.Context(), func() error { return scanLines(io) })
			}
			return scanServers(c.Context(), f, io)
		},
	}
	jsonFlag(c, &f.json)
	flags := c.Flags()
	flags.StringVar(&f.upstream, "upstream", "", "`URL` of an MCP server")
	flags.StringVar(&f.credential, "credential-file", "", "`FILE` with the token that the server at URL wants (Authorization: Bearer)")
	flags.StringVar(&f.name, "name", "server", "what reports call the server: `NAME`")
	flags.StringVarP(&f.file, "config", "c", "", "configuration `FILE`: all its servers, compared with each other")
	flags.BoolVar(&f.sarif, "sarif", false, "print SARIF 2.1.0, for code scanning")
	flags.StringVar(&f.severity, "severity", string(scan.Note), "report what is at least this bad: error, warning or note")
	return c
}

// scanned is the answer to a line.
type scanned struct {
	ID       string        `json:"id"`
	Flagged  bool          `json:"flagged"`
	Score    float64       `json:"score"`
	Findings []scanFinding `json:"findings"`
	Redacted string        `json:"redacted"`
}

type scanFinding struct {
	Rule  string `json:"rule"`
	Start int    `json:"start"`
	End   int    `json:"end"`
}

// unscanned is the answer to a line that cannot be read.
type unscanned struct {
	Error string `json:"error"`
	Line  int    `json:"line"`
}

// untilEnd runs f, but returns when ctx ends: nothing else ends a read from a terminal.
func untilEnd(ctx context.Context, f func() error) error {
	ended := make(chan error, 1)
	go func() { ended <- f() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return exit(ExitFailure, errors.New("interrupted"))
	}
}

func scanLines(streams Streams) error {
	in, out := bufio.NewReaderSize(streams.In, 64<<10), bufio.NewWriter(streams.Out)
	answers := json.NewEncoder(out)
	answers.SetEscapeHTML(false)
	bad := false
	for n := 1; ; n++ {
		line, err := readLine(in)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, errLongLine) {
			return exit(ExitFailure, fmt.Errorf("reading line %d: %w", n, err))
		}
		if err == nil && len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var answer any
		if err == nil {
			answer, err = scanLine(line)
		}
		if err != nil {
			answer, bad = unscanned{err.Error(), n}, true
		}
		if err := errors.Join(answers.Encode(answer), out.Flush()); err != nil {
			return exit(ExitFailure, fmt.Errorf("writing the answer to line %d: %w", n, err))
		}
	}
	if bad {
		return exit(ExitUnmet, nil)
	}
	return nil
}

var errLongLine = fmt.Errorf("the line is longer than %d MiB", maxScanLine>>20)

// readLine returns the next line without its end. What is too long is read to its end
// and not kept.
func readLine(in *bufio.Reader) (line []byte, err error) {
	long := false
	for {
		part, err := in.ReadSlice('\n')
		switch {
		case err == nil || errors.Is(err, io.EOF) && len(part)+len(line) > 0:
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && long:
		default:
			return nil, err
		}
		if long = long || len(line)+len(part) > maxScanLine+1; long {
			line = nil
		} else {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case long:
			return nil, errLongLine
		default:
			return bytes.TrimSuffix(line, []byte("\n")), nil
		}
	}
}

// scanLine answers one line. Its errors never repeat what it says.
func scanLine(line []byte) (any, error) {
	if !utf8.Valid(line) {
		return nil, errors.New("not UTF-8")
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(line, &members); err != nil || members == nil {
		return nil, errors.New("not a JSON object")
	}
	var id, kind, text string
	for _, m := range []struct {
		name string
		into *string
	}{{"id", &id}, {"kind", &kind}, {"text", &text}} {
		// null would leave the string as it is, and so would nothing.
		if raw := members[m.name]; len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, m.into) != nil {
			return nil, fmt.Errorf("%s is missing or no string", m.name)
		}
	}
	if id == "" {
		return nil, errors.New("id is empty")
	}
	v, err := scan.Judge(kind, text)
	if err != nil {
		return nil, err
	}
	return scanned{id, v.Flagged, v.Score, scanFindings(v.Findings), v.Redacted}, nil
}

func scanFindings(found []guards.Finding) []scanFinding {
	list := make([]scanFinding, 0, len(found))
	for _, f := range found {
		list = append(list, scanFinding{f.Rule, f.Start, f.End})
	}
	return list
}
