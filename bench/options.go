package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// options are the command line.
type options struct {
	calls       int   // per path, concurrency and round
	rounds      int   //
	concurrency []int // workers
	sizes       []int // bytes of text in the request, and again in the answer
	answer      string
	endurance   int    // calls through the sidecar in all
	sessions    int    // held at a time to see what they cost
	sidecar     string // program
	json        bool
	quick       bool
	strict      bool
	write       string // file for the report as a document
}

// How the upstream answers.
const (
	answerJSON = "json" // one JSON document
	answerSSE  = "sse"  // a stream of one event, as SDK servers do by default
)

// maxSize bounds a text; the sidecar's default limit for a request is 4 MiB.
const maxSize = 1 << 20

// parseOptions prints the help to stdout and returns flag.ErrHelp if asked to.
func parseOptions(args []string, stdout io.Writer) (options, error) {
	o := options{concurrency: []int{1, 8, 32, 128}, sizes: []int{smallText, middleText, maxSize}}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // errors are printed once, by run
	fs.IntVar(&o.calls, "calls", 1200, "`N` calls per path, cell and round; fewer where texts are large, more where the slowest 1 % count")
	fs.IntVar(&o.rounds, "rounds", 5, "`N` rounds; figures are medians over them")
	fs.Var((*counts)(&o.concurrency), "concurrency", "`LIST` of numbers of workers, each with one call at a time")
	fs.Var((*sizes)(&o.sizes), "sizes", "`LIST` of text sizes, in the request and again in the answer: 100, 10k, 1m")
	fs.StringVar(&o.answer, "answer", answerSSE, "`HOW` the upstream answers: json or sse")
	fs.StringVar(&o.sidecar, "sidecar", "", "`FILE` of the mcp-sidecar program (default: next to this one)")
	fs.IntVar(&o.endurance, "endurance", 100_000, "`N` calls that have to pass the sidecar in all")
	fs.IntVar(&o.sessions, "sessions", 8000, "`N` sessions that are held at a time to see what they cost")
	fs.BoolVar(&o.json, "json", false, "print one JSON document in place of the tables")
	fs.BoolVar(&o.quick, "quick", false, "measure less: --calls 200 --rounds 2 --endurance 5000 --sessions 2000")
	fs.BoolVar(&o.strict, "check", false, "end with 5 when a goal is not met")
	fs.StringVar(&o.write, "write", "", "write the report to `FILE`, as Markdown")
	err := fs.Parse(args)
	if o.quick {
		o.calls, o.rounds, o.endurance, o.sessions = 200, 2, 5000, 2000
		err = fs.Parse(args) // what is said is stronger
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		printHelp(stdout, fs)
		return o, err
	case err == nil && fs.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case err == nil:
		err = o.check()
	}
	if err != nil {
		return o, coded(exitUsage, fmt.Errorf("%w; see bench --help", err))
	}
	o.sidecar, err = program(o.sidecar)
	return o, err
}

func (o options) check() error {
	switch {
	case o.calls < 1 || o.rounds < 1 || o.endurance < 1 || o.sessions < 1:
		return errors.New("--calls, --rounds, --endurance and --sessions must be at least 1")
	case o.sessions > maxSessions:
		return fmt.Errorf("--sessions %d: at most %d", o.sessions, maxSessions)
	case o.answer != answerJSON && o.answer != answerSSE:
		return fmt.Errorf("--answer %q: want %s or %s", o.answer, answerJSON, answerSSE)
	}
	return nil
}

// program finds the sidecar: next to this program, if not told otherwise.
func program(path string) (string, error) {
	if path == "" {
		self, err := os.Executable()
		if err != nil {
			return "", err
		}
		if path = filepath.Join(filepath.Dir(self), "mcp-sidecar"); runtime.GOOS == "windows" {
			path += ".exe"
		}
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w (make build puts mcp-sidecar into bin/; --sidecar names another place)", err)
	}
	return filepath.Abs(path)
}

// printHelp exists because the flag package prints long names with one dash.
func printHelp(w io.Writer, fs *flag.FlagSet) {
	fmt.Fprint(w, `bench measures a tool call through mcp-sidecar with all guards on, next to the
same call through a plain reverse proxy and without a proxy.

Usage: bench [flags]

Every process keeps its own setting of the garbage collector, as in operation.
GOGC in the environment gives all of them the same.

`)
	fs.VisitAll(func(f *flag.Flag) {
		value, text := flag.UnquoteUsage(f)
		if f.DefValue != "" && f.DefValue != "false" {
			text += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(w, "  %-20s %s\n", "--"+f.Name+" "+value, text)
	})
	fmt.Fprintf(w, "  %-20s %s\n", "-h, --help", "print this text")
	fmt.Fprint(w, "\nExit codes: 0 measured, 1 a call or a program failed, 2 usage, 5 not exactly one\nupstream request and one audit record per call, or with --check a goal\nthat is not met.\n")
}

// counts is a flag: a list of numbers from 1, separated by commas.
type counts []int

func (c *counts) String() string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(*c), " ", ","), "[]")
}

// Set implements [flag.Value].
func (c *counts) Set(text string) error {
	return setList((*[]int)(c), text, strconv.Atoi, maxWorkers)
}

// Bounds that stay within those of sidecar.yaml: beyond them, refusals would be
// measured.
const (
	maxWorkers  = 256
	maxSessions = 9000
)

// sizes is a flag: a list of byte counts, k and m meaning 1024 and its square.
type sizes []int

func (s *sizes) String() string {
	texts := make([]string, len(*s))
	for i, n := range *s {
		texts[i] = sizeText(n)
	}
	return strings.Join(texts, ",")
}

// Set implements [flag.Value].
func (s *sizes) Set(text string) error { return setList((*[]int)(s), text, parseSize, maxSize) }

func setList(list *[]int, text string, parse func(string) (int, error), most int) error {
	*list = nil
	for _, item := range strings.Split(text, ",") {
		n, err := parse(item)
		if err != nil || n < 1 || n > most {
			return fmt.Errorf("%q is not a number from 1 to %d", item, most)
		}
		*list = append(*list, n)
	}
	return nil
}

func parseSize(text string) (int, error) {
	unit := 1
	switch digits, last := text[:max(0, len(text)-1)], text[max(0, len(text)-1):]; last {
	case "k":
		text, unit = digits, 1<<10
	case "m":
		text, unit = digits, 1<<20
	}
	n, err := strconv.Atoi(text)
	if n > maxSize { // so that the product cannot overflow
		return n, err
	}
	return n * unit, err
}

func sizeText(n int) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return strconv.Itoa(n>>20) + "m"
	case n >= 1<<10 && n%(1<<10) == 0:
		return strconv.Itoa(n>>10) + "k"
	}
	return strconv.Itoa(n)
}
