// Package pgserver runs real PostgreSQL servers for tests and for the demo: private
// clusters from the binaries of this machine, on loopback, started as an unprivileged
// user and gone with the program that started them. It is no tool for data that
// anybody wants to keep: nothing waits for the disk.
package pgserver

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-pg/pg/v10"
)

// ErrNoBinaries says that this machine has no PostgreSQL to run.
var ErrNoBinaries = errors.New("no PostgreSQL binaries: install the package postgresql, or name their folder in PG_BIN")

const (
	startTime = 60 * time.Second
	stopTime  = 10 * time.Second

	// Superuser is who owns a cluster, and the name of a database in it.
	Superuser = "postgres"
)

// Usual is where Debian, Fedora and Homebrew put the binaries.
var Usual = []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin", "/usr/local/opt/postgresql*/bin"}

// Binaries returns the folder with initdb and postgres: PG_BIN, the one of PATH, or
// the newest of the usual places.
func Binaries() (string, error) {
	folders := []string{os.Getenv("PG_BIN")}
	if initdb, err := exec.LookPath("initdb"); err == nil {
		folders = append(folders, filepath.Dir(initdb))
	}
	for _, pattern := range Usual {
		found, _ := filepath.Glob(pattern)
		slices.SortFunc(found, func(a, b string) int { return version(b) - version(a) })
		folders = append(folders, found...)
	}
	for _, folder := range folders {
		if folder != "" && executable(filepath.Join(folder, "initdb")) && executable(filepath.Join(folder, "postgres")) {
			return folder, nil
		}
	}
	return "", ErrNoBinaries
}

// version is the first number in a path.
func version(path string) int {
	n, _ := strconv.Atoi(strings.Trim(path, "/abcdefghijklmnopqrstuvwxyz-.@"))
	return n
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && (runtime.GOOS == "windows" || info.Mode()&0o111 != 0)
}

// Options say what a server is like.
type Options struct {
	// Certificate makes the server speak TLS too, with certificate and key in PEM.
	Certificate, Key []byte
}

// Server is a private PostgreSQL server.
type Server struct {
	folder   string // of the cluster
	binaries string
	password string
	port     int
	user     *account // who runs it; nil for ourselves

	mu      sync.Mutex
	running *exec.Cmd
	ended   chan struct{}
	log     lockedBuffer
}

// account is a user of the system.
type account struct{ uid, gid uint32 }

// Start makes a cluster and starts it. Stop ends and removes it.
func Start(ctx context.Context, o Options) (s *Server, err error) {
	s = &Server{password: rand.Text()}
	if s.binaries, err = Binaries(); err != nil {
		return nil, err
	}
	if s.user, err = unprivileged(); err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp(s.below(), "pgtest-")
	if err != nil {
		return nil, err
	}
	s.folder = folder
	defer func() {
		if err != nil {
			_ = os.RemoveAll(folder)
		}
	}()
	if err := s.own(s.folder); err != nil {
		return nil, err
	}
	if err := s.init(ctx, o); err != nil {
		return nil, err
	}
	for range 5 { // somebody else may take the port first
		if s.port, err = freePort(); err != nil {
			return nil, err
		}
		if err = s.Resume(ctx); err == nil {
			return s, nil
		}
	}
	return nil, err
}

// below is where the cluster's folder is made: where temporary files belong, if who runs
// the server can get there.
func (s *Server) below() string {
	for _, dir := range []string{os.TempDir(), "/tmp", "/var/tmp"} {
		if s.user == nil || open(dir) {
			return dir
		}
	}
	return ""
}

// open says whether everybody can enter dir.
func open(dir string) bool {
	for ; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil || info.Mode()&0o001 == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}

// init makes the cluster.
func (s *Server) init(ctx context.Context, o Options) error {
	secret := filepath.Join(s.folder, "password")
	if err := s.write(secret, []byte(s.password)); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(s.binaries, "initdb"), "-D", s.data(), "-U", Superuser,
		"-A", "scram-sha-256", "--pwfile="+secret, "-E", "UTF8", "--locale=C", "--no-sync")
	s.asUser(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, tail(out))
	}
	if o.Certificate == nil {
		return nil
	}
	return errors.Join(s.write(filepath.Join(s.folder, "server.crt"), o.Certificate), s.write(filepath.Join(s.folder, "server.key"), o.Key))
}

func (s *Server) data() string { return filepath.Join(s.folder, "data") }

func (s *Server) write(name string, content []byte) error {
	if err := os.WriteFile(name, content, 0o600); err != nil {
		return err
	}
	return s.own(name)
}

func (s *Server) own(name string) error {
	if s.user == nil {
		return nil
	}
	return os.Chown(name, int(s.user.uid), int(s.user.gid))
}

// asUser has cmd run as the unprivileged user, where the folder is that user's.
func (s *Server) asUser(cmd *exec.Cmd) {
	cmd.Dir = s.folder
	cmd.Env = []string{"HOME=" + s.folder, "LC_ALL=C", "PATH=" + s.binaries + string(os.PathListSeparator) + os.Getenv("PATH")}
	cmd.SysProcAttr = asUser(s.user)
}

// Resume starts the server again that Pause has ended, at the same port.
func (s *Server) Resume(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		return nil
	}
	args := []string{"-D", s.data(), "-p", strconv.Itoa(s.port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=" + s.folder,
		"-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=100", "-c", "shared_buffers=16MB"}
	if _, err := os.Stat(filepath.Join(s.folder, "server.crt")); err == nil {
		args = append(args, "-c", "ssl=on", "-c", "ssl_cert_file="+filepath.Join(s.folder, "server.crt"), "-c", "ssl_key_file="+filepath.Join(s.folder, "server.key"))
	}
	cmd := exec.Command(filepath.Join(s.binaries, "postgres"), args...) //nolint:noctx // Pause ends it
	s.asUser(cmd)
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	s.running, s.ended = cmd, ended
	if err := s.answers(ctx); err != nil {
		s.kill()
		return fmt.Errorf("PostgreSQL does not start: %w\n%s", err, tail(s.log.bytes()))
	}
	return nil
}

// answers waits until the server does.
func (s *Server) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	db := s.connect(Superuser)
	defer func() { _ = db.Close() }()
	for {
		err := db.Ping(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-s.ended:
			return errors.New("it has ended")
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Pause ends the server at once, as a crash would; Resume starts it again.
func (s *Server) Pause() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		s.kill()
	}
}

// kill ends the server and what it has started: on SIGQUIT it ends its own processes
// without saving anything.
func (s *Server) kill() {
	_ = s.running.Process.Signal(syscall.SIGQUIT)
	select {
	case <-s.ended:
	case <-time.After(stopTime):
		_ = s.running.Process.Kill()
		<-s.ended
	}
	s.running = nil
}

// Stop ends the server and removes everything.
func (s *Server) Stop() {
	s.Pause()
	_ = os.RemoveAll(s.folder)
}

// URL is how the user with the password reaches a database.
func (s *Server) URL(user, password, database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(user, password), Host: s.Address(), Path: "/" + database, RawQuery: "sslmode=disable"}
	return u.String()
}

// AdminURL is how everything is reached with every right.
func (s *Server) AdminURL(database string) string { return s.URL(Superuser, s.password, database) }

// Address is where the server listens.
func (s *Server) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Folder holds the cluster.
func (s *Server) Folder() string { return s.folder }

// Socket is the path of the server's unix socket.
func (s *Server) Socket() string { return filepath.Join(s.folder, ".s.PGSQL."+strconv.Itoa(s.port)) }

func (s *Server) connect(database string) *pg.DB {
	return pg.Connect(&pg.Options{Addr: s.Address(), User: Superuser, Password: s.password, Database: database, DialTimeout: time.Second, PoolSize: 2, IdleCheckFrequency: -1})
}

func freePort() (int, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// lockedBuffer keeps the end of what a server says.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

const tailBytes = 16 << 10

// Write implements [io.Writer].
func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.b.Len() > tailBytes {
		_, _ = io.CopyN(io.Discard, &l.b, int64(l.b.Len()-tailBytes/2))
	}
	return l.b.Write(p)
}

func (l *lockedBuffer) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.b.Bytes())
}

func tail(b []byte) []byte { return b[max(0, len(b)-2<<10):] }
