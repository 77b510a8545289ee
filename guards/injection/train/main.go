// Command train makes the model of the injection guard from labelled texts and from this
// project's own templates. The same inputs make the same bytes on every machine: nothing
// hangs on the clock, on the order of a map or on how a processor rounds.
package main

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"os"

	"mcp-sidecar/bench/corpus"
	"mcp-sidecar/guards/injection"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "train:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("train", flag.ContinueOnError)
	dir := flags.String("corpora", os.Getenv("CORPORA_DIR"), "`DIR` with prompt_injection.jsonl (default from CORPORA_DIR)")
	file := flags.String("o", "guards/injection/model.bin", "`FILE` to write")
	holdOut := flags.Bool("hold-out", false, "write nothing: train without each source in turn, and say what the model makes of it")
	folds := flags.Bool("folds", false, "with -hold-out: leave out a fifth of the texts at a time, and no whole origins")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *dir == "" {
		return fmt.Errorf("where are the labelled texts? Set CORPORA_DIR, or pass -corpora DIR")
	}
	examples, err := gather(*dir)
	if err != nil {
		return err
	}
	if *holdOut {
		return evaluate(examples, *folds, out)
	}
	b := train(examples).Marshal()
	if err := os.WriteFile(*file, b, 0o644); err != nil { //nolint:gosec // part of the program
		return err
	}
	_, err = fmt.Fprintf(out, "%d examples, sha256 %x\n", len(examples), sha256.Sum256(b))
	return err
}

// encoded are sources whose texts are encoded: the model reads what was decoded.
var encoded = map[string]bool{"obfuscated": true, "obfuscated-in-document": true, "benign-encoded": true}

// templateSeed makes the templates' texts.
const templateSeed = 20260728

// gather is everything to learn from, in a fixed order.
func gather(dir string) ([]example, error) {
	items, err := corpus.Read(dir, "prompt_injection")
	if err != nil {
		return nil, err
	}
	var all []example
	for _, i := range items {
		if !encoded[i.Source] {
			all = append(all, example{i.Text, i.Attack, i.Source, i.Part})
		}
	}
	return append(all, generate(templateSeed)...), nil
}

// train makes the model.
func train(examples []example) *injection.Model {
	bags := make([]*bag, len(examples))
	for i, e := range examples {
		bags[i] = read(e)
	}
	weigh(bags)
	return learn(bags).model()
}
