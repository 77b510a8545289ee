package docserver

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// tree makes folders with a canary each, so that only their place decides.
func tree(t *testing.T, folders ...string) string {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range append(folders, ".") {
		dir := filepath.Join(root, f)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, canaryFile), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestCheckScratchByPlace(t *testing.T) {
	root := tree(t, "users/me/scratch", "users/me/project", "temp", "elsewhere")
	t.Setenv("HOME", filepath.Join(root, "users/me"))
	t.Setenv("TMPDIR", filepath.Join(root, "temp"))
	t.Chdir(filepath.Join(root, "users/me/project"))
	for name, target := range map[string]string{"to-home": "users/me", "to-scratch": "users/me/scratch"} {
		if err := os.Symlink(filepath.Join(root, target), filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	at := func(path string) string { return filepath.Join(root, path) }
	tests := []struct {
		name, dir string
		want      string // empty: refused
	}{
		{"below home", at("users/me/scratch"), at("users/me/scratch")},
		{"outside home", at("elsewhere"), at("elsewhere")},
		{"relative", "../scratch", at("users/me/scratch")},
		{"trailing slash", at("elsewhere") + "/", at("elsewhere")},
		{"symbolic link to a good one", at("to-scratch"), at("users/me/scratch")},
		{"none", "", ""},
		{"missing", at("missing"), ""},
		{"a file", at("elsewhere/canary.txt"), ""},
		{"root", "/", ""},
		{"root in disguise", "/..//.", ""},
		{"home", at("users/me"), ""},
		{"parent of home", at("users"), ""},
		{"symbolic link to home", at("to-home"), ""},
		{"working directory", ".", ""},
		{"parent of the working directory", "..", ""},
		{"grandparent of the working directory", root, ""},
		{"folder for temporary files", at("temp"), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := checkScratch(tt.dir)
			if got != tt.want {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
			if (tt.want == "") != errors.Is(err, ErrScratch) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestCheckScratchKnowsTheUserDatabase(t *testing.T) {
	t.Setenv("HOME", tree(t))
	homes, err := homeFolders()
	if err != nil || len(homes) < 2 {
		t.Skipf("the user database names no home folder: %q, %v", homes, err)
	}
	if err := checkHarmless(homes[1]); !errors.Is(err, ErrScratch) {
		t.Errorf("%q passed: %v", homes[1], err)
	}
}

func TestCheckScratchNeedsCanary(t *testing.T) {
	tests := []struct {
		name string
		make func(path string) error
		ok   bool
	}{
		{"regular file", func(p string) error { return os.WriteFile(p, nil, 0o600) }, true},
		{"nothing", func(string) error { return nil }, false},
		{"folder", func(p string) error { return os.Mkdir(p, 0o700) }, false},
		{"symbolic link", func(p string) error { return os.Symlink(os.Args[0], p) }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := tt.make(filepath.Join(dir, canaryFile)); err != nil {
				t.Fatal(err)
			}
			if _, err := checkScratch(dir); tt.ok != (err == nil) || !tt.ok && !errors.Is(err, ErrScratch) {
				t.Errorf("error %v", err)
			}
		})
	}
}
