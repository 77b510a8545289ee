package docserver

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
)

// ErrScratch is wrapped by every error about an unusable scratch folder.
var ErrScratch = errors.New("unusable scratch folder")

// canaryFile marks a folder as meant to be destroyed.
const canaryFile = "canary.txt"

// checkScratch returns dir as an absolute path without symbolic links, or says
// why `rm -rf ~` must not be able to hit it.
func checkScratch(dir string) (string, error) {
	if dir == "" {
		return "", fmt.Errorf("%w: none given", ErrScratch)
	}
	path, err := realPath(dir)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrScratch, err)
	}
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return "", fmt.Errorf("%w: %q is not a directory", ErrScratch, dir)
	}
	if err := checkHarmless(path); err != nil {
		return "", err
	}
	canary, err := os.Lstat(filepath.Join(path, canaryFile))
	if err != nil || !canary.Mode().IsRegular() {
		return "", fmt.Errorf("%w: %q holds no file %s", ErrScratch, dir, canaryFile)
	}
	return path, nil
}

// checkHarmless refuses a folder that is, or contains, one that nobody wants to
// lose. The root contains all of them.
func checkHarmless(path string) error {
	if filepath.Dir(path) == path {
		return fmt.Errorf("%w: %q is the root of a file system", ErrScratch, path)
	}
	cwd, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("%w: the working directory is unknown: %w", ErrScratch, err)
	}
	homes, err := homeFolders()
	if err != nil {
		return fmt.Errorf("%w: the home folder is unknown: %w", ErrScratch, err)
	}
	for _, precious := range append(homes, cwd, os.TempDir()) {
		// A home folder that does not exist cannot be lost, but may be made later:
		// it is compared as it is written.
		if p, err := realPath(precious); err == nil {
			precious = p
		}
		if contains(path, precious) {
			return fmt.Errorf("%w: %q is or contains %q", ErrScratch, path, precious)
		}
	}
	return nil
}

// homeFolders returns the home folder of the environment and that of the user
// database: either may be the one that matters. One of the two must be known.
func homeFolders() ([]string, error) {
	var homes []string
	env, err := os.UserHomeDir()
	if err == nil {
		homes = append(homes, env)
	}
	u, uerr := user.Current()
	if uerr == nil && u.HomeDir != "" {
		homes = append(homes, u.HomeDir)
	}
	if len(homes) == 0 {
		return nil, errors.Join(err, uerr)
	}
	return homes, nil
}

func contains(parent, path string) bool {
	rel, err := filepath.Rel(parent, path)
	if err != nil {
		return false
	}
	return rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

func realPath(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}
