package kas

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"sync"
)

// Remote says which commit a reference of a repository is.
type Remote interface {
	// Commit resolves the tag, branch or refspec of a repository.
	Commit(ctx context.Context, r *Repo) (string, error)
}

// Git asks remotes with `git ls-remote`, so nothing is cloned. It is safe for
// concurrent use and asks for each URL once.
type Git struct {
	// Program is the git to run; "git" when empty.
	Program string
	// Mirrors map URLs to others that are asked instead.
	Mirrors []Mirror

	mu   sync.Mutex // guards refs
	refs map[string]*listing
}

type listing struct {
	once sync.Once
	refs map[string]string
	err  error
}

// Mirror maps URLs to others, as a line of KAS_PREMIRRORS does.
type Mirror struct {
	pattern *regexp.Regexp
	subst   string
}

// backReference is a group in a Python substitution: \1 or \g<name>.
var backReference = regexp.MustCompile(`\\(?:(\d{1,2})|g<(\w+)>)`)

// ParseMirrors reads KAS_PREMIRRORS: lines of a regular expression and what
// to put in its place. Lines that are not two words do not count, as in kas
// (repos.py, effective_url).
func ParseMirrors(text string) ([]Mirror, error) {
	var out []Mirror
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) != 2 {
			continue
		}
		p, err := regexp.Compile(words[0])
		if err != nil {
			return nil, fmt.Errorf("mirror %q: %w", words[0], err)
		}
		subst := backReference.ReplaceAllString(strings.ReplaceAll(words[1], "$", "$$"), "$${$1$2}")
		out = append(out, Mirror{p, subst})
	}
	return out, nil
}

// url is the URL that is asked: that of the first mirror whose expression
// matches at the beginning.
func (g *Git) url(url string) string {
	for _, m := range g.Mirrors {
		if at := m.pattern.FindStringIndex(url); at != nil && at[0] == 0 {
			return m.pattern.ReplaceAllString(url, m.subst)
		}
	}
	return url
}

// Commit implements Remote.
func (g *Git) Commit(ctx context.Context, r *Repo) (string, error) {
	var names []string
	switch {
	case r.Tag != "":
		// An annotated tag is an object of its own; "^{}" is its commit.
		names = []string{"refs/tags/" + r.Tag + "^{}", "refs/tags/" + r.Tag}
	case r.Branch != "":
		names = []string{"refs/heads/" + r.Branch}
	case fullHash.MatchString(r.Refspec):
		return r.Refspec, nil
	default:
		names = []string{"refs/heads/" + r.Refspec, "refs/tags/" + r.Refspec + "^{}", "refs/tags/" + r.Refspec, r.Refspec}
	}
	url := g.url(r.URL)
	refs, err := g.list(ctx, url)
	if err != nil {
		return "", fmt.Errorf("repository %s: %w", r.Name, err)
	}
	for _, n := range names {
		if c := refs[n]; c != "" {
			return c, nil
		}
	}
	return "", fmt.Errorf("repository %s: %s has no %s", r.Name, url, names[len(names)-1])
}

// maxRefs bounds the answer of a remote: the largest have a few hundred
// thousand references.
const maxRefs = 64 << 20

func (g *Git) list(ctx context.Context, url string) (map[string]string, error) {
	g.mu.Lock()
	if g.refs == nil {
		g.refs = map[string]*listing{}
	}
	l := g.refs[url]
	if l == nil {
		l = &listing{}
		g.refs[url] = l
	}
	g.mu.Unlock()
	l.once.Do(func() { l.refs, l.err = g.ask(ctx, url) })
	return l.refs, l.err
}

// bounded keeps the beginning of what is written to it.
type bounded struct {
	bytes.Buffer
	limit int
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > b.limit {
		return 0, fmt.Errorf("the answer is larger than %d bytes", b.limit)
	}
	return b.Buffer.Write(p)
}

func (g *Git) ask(ctx context.Context, url string) (map[string]string, error) {
	program := g.Program
	if program == "" {
		program = "git"
	}
	cmd := exec.CommandContext(ctx, program, "ls-remote", "--", url)
	// git gets the environment of the process (proxies, ssh agent), and must
	// not wait for a password.
	cmd.Env = append(cmd.Environ(), "GIT_TERMINAL_PROMPT=0", "LC_ALL=C")
	out := &bounded{limit: maxRefs}
	diagnostics := &bounded{limit: 1 << 16}
	cmd.Stdout, cmd.Stderr = out, diagnostics
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		said, _, _ := strings.Cut(strings.TrimSpace(diagnostics.String()), "\n")
		return nil, fmt.Errorf("git ls-remote %s: %w: %s", url, err, said)
	}
	refs := map[string]string{}
	for line := range strings.Lines(out.String()) {
		commit, ref, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if ok {
			refs[ref] = commit
		}
	}
	return refs, nil
}
