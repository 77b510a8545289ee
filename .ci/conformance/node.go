package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// minNode is what the suite needs.
const minNode = 22

// The lock file pins every package with the hash of its content.
//
//go:embed npm/package.json npm/package-lock.json
var pinned embed.FS

// tools are the programs that come from npm.
type tools struct {
	node    string // the program
	modules string // folder node_modules
}

// script is the file of an npm package that node runs.
func (t tools) script(pkg string) string {
	return filepath.Join(t.modules, "@modelcontextprotocol", pkg, "dist", "index.js")
}

// findTools finds Node, or installs it, and installs the packages once: the
// cache folder is named after the lock file.
func findTools(ctx context.Context) (tools, error) {
	own := nodeOnPath(ctx)
	dir, err := cacheFolder(own == "")
	if err != nil {
		return tools{}, err
	}
	t := tools{node: own, modules: filepath.Join(dir, "node_modules")}
	if t.node == "" {
		t.node = filepath.Join(t.modules, nodePackage(), "bin", "node")
	}
	if _, err := os.Stat(dir); err == nil {
		return t, t.check(ctx)
	}
	fmt.Printf("installing the suite and the servers into %s\n", dir)
	if err := install(ctx, dir, own == ""); err != nil {
		return tools{}, fmt.Errorf("%w: %w", errDependency, err)
	}
	return t, t.check(ctx)
}

// nodePackage is the npm package with the Node of this machine.
func nodePackage() string {
	return "node-" + runtime.GOOS + "-" + map[string]string{"amd64": "x64"}[runtime.GOARCH] + map[string]string{"arm64": "arm64"}[runtime.GOARCH]
}

// nodeOnPath is the node on PATH when it is new enough.
func nodeOnPath(ctx context.Context) string {
	path, err := exec.LookPath("node")
	if err != nil || nodeMajor(ctx, path) < minNode {
		return ""
	}
	return path
}

// nodeMajor is 0 when path does not run.
func nodeMajor(ctx context.Context, path string) int {
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return 0
	}
	major, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(string(out)), "v"), ".")
	n, err := strconv.Atoi(major)
	if err != nil {
		return 0
	}
	return n
}

func (t tools) check(ctx context.Context) error {
	if nodeMajor(ctx, t.node) < minNode {
		return fmt.Errorf("%w: %s is not Node %d or newer; install Node and put it on PATH", errDependency, t.node, minNode)
	}
	for _, pkg := range []string{"conformance", "server-everything", "server-filesystem", "server-memory"} {
		if _, err := os.Stat(t.script(pkg)); err != nil {
			return fmt.Errorf("%w: the cache is incomplete, remove it: %w", errDependency, err)
		}
	}
	return nil
}

// cacheFolder depends on what it holds, so that a new lock file or another Node
// never meets old content.
func cacheFolder(withNode bool) (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		base = os.TempDir() // a machine without a home
	}
	lock, err := pinned.ReadFile("npm/package-lock.json")
	if err != nil {
		return "", err
	}
	name := fmt.Sprintf("%x", sha256.Sum256(lock))[:16]
	if withNode {
		name += "-node"
	}
	return filepath.Join(base, "mcp-sidecar-conformance", name), nil
}

// install fills dir, whole or not at all.
func install(ctx context.Context, dir string, withNode bool) error {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return errors.New("there is no npm on PATH: it comes with Node, any version will do")
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o750); err != nil {
		return err
	}
	fresh, err := os.MkdirTemp(filepath.Dir(dir), "installing-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(fresh) }()
	for _, name := range []string{"package.json", "package-lock.json"} {
		text, err := pinned.ReadFile("npm/" + name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(fresh, name), text, 0o600); err != nil {
			return err
		}
	}
	// ci installs what the lock file says or fails; no package runs a script.
	args := []string{"ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"}
	if !withNode {
		args = append(args, "--omit=optional")
	}
	cmd := exec.CommandContext(ctx, npm, args...)
	cmd.Dir = fresh
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w\n%s", err, bytes.TrimSpace(out))
	}
	if err := os.Rename(fresh, dir); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}
