package kconfig

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
)

// Limits of what Load reads.
const (
	maxFileSize   = 4 << 20 // that of all of Linux is 5 MB in 1,700 files
	maxTotalSize  = 16 << 20
	maxFiles      = 10_000
	maxSourceNest = 200
	maxExprNest   = 1000
	maxBlockNest  = 1000
)

// Options say where a Kconfig file gets what is not in it.
type Options struct {
	// Env looks up an environment variable, for $(NAME), "$NAME" and `option
	// env`; nil means an empty environment.
	Env func(name string) (value string, set bool)
}

// Load parses the file name in fsys and all that it sources. Paths in source
// statements are relative to the root of fsys, those of rsource to the file
// that holds them; both must stay inside. The error is a *SyntaxError where a
// file is at fault, and a *LoopError for symbols that depend on themselves.
func Load(fsys fs.FS, name string, opts Options) (*Tree, error) {
	t := &Tree{
		Title:  "Main menu",
		byName: map[string]*Symbol{},
		consts: map[string]*Symbol{},
	}
	t.n, t.m, t.y = t.tri("n"), t.tri("m"), t.tri("y")
	t.modules = &Symbol{Name: "MODULES"}
	t.byName["MODULES"] = t.modules
	t.Root = &Node{Kind: MenuNode, Dep: t.y, PromptCond: t.y, VisibleIf: t.y, Pos: diag.Position{File: name, Line: 1}}

	env := opts.Env
	if env == nil {
		env = func(string) (string, bool) { return "", false }
	}
	p := &parser{tree: t, fsys: fsys, env: env, vars: map[string]variable{}, choices: map[string]*Choice{}}
	if err := p.file(name, t.Root, line{}); err != nil {
		return nil, err
	}
	t.Root.Prompt, t.Root.HasPrompt = t.Title, true
	t.finalize()
	if err := t.checkLoops(); err != nil {
		return nil, err
	}
	if err := t.checkSanity(); err != nil {
		return nil, err
	}
	t.warnings = sortedWarnings(t.warnings)
	return t, nil
}

// tri makes the constants n, m and y.
func (t *Tree) tri(name string) *Symbol {
	s := &Symbol{Name: name, Type: Tristate, Const: true}
	t.consts[name] = s
	return s
}

type parser struct {
	tree    *Tree
	fsys    fs.FS
	env     func(string) (string, bool)
	vars    map[string]variable
	choices map[string]*Choice
	open    []string // files being read, the outermost first
	blocks  int      // menus, choices and ifs that are open
	total   int
	reused  *statement // a line that ended a block of properties
	src     *source
}

// statement is a tokenized line: a keyword and what follows it.
type statement struct {
	line
	keyword string
	toks    []token
	i       int
}

var keywords = map[string]bool{
	"allnoconfig_y": true, "bool": true, "boolean": true, "choice": true, "comment": true, "config": true,
	"def_bool": true, "def_hex": true, "def_int": true, "def_string": true, "def_tristate": true,
	"default": true, "defconfig_list": true, "depends": true, "endchoice": true, "endif": true,
	"endmenu": true, "env": true, "grsource": true, "gsource": true, "help": true, "hex": true, "if": true,
	"imply": true, "int": true, "mainmenu": true, "menu": true, "menuconfig": true, "modules": true,
	"on": true, "option": true, "optional": true, "orsource": true, "osource": true, "prompt": true,
	"range": true, "rsource": true, "select": true, "source": true, "string": true, "tristate": true,
	"visible": true,
}

// file parses one file into parent.
func (p *parser) file(name string, parent *Node, from line) error {
	if slices.Contains(p.open, name) {
		chain := strings.Join(append(slices.Clone(p.open), name), " -> ")
		return &SyntaxError{Pos: from.pos(), Line: strings.TrimSpace(from.text), Msg: "recursive 'source': " + chain}
	}
	if len(p.open) >= maxSourceNest {
		return from.errorf("source statements are nested more than %d deep", maxSourceNest)
	}
	text, err := p.read(name)
	if err != nil {
		if from.file != "" {
			return from.errorf("%v", err)
		}
		return err
	}
	if !slices.Contains(p.tree.Files, name) {
		p.tree.Files = append(p.tree.Files, name)
	}
	outer := p.src
	p.open, p.src = append(p.open, name), newSource(name, text)
	defer func() { p.open, p.src = p.open[:len(p.open)-1], outer }()
	return p.block(parent, nil, "")
}

func (p *parser) read(name string) (string, error) {
	f, err := p.fsys.Open(name)
	if err != nil {
		return "", fmt.Errorf("read Kconfig: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return "", fmt.Errorf("read Kconfig %s: %w", name, err)
	}
	if p.total += len(b); len(b) > maxFileSize || p.total > maxTotalSize || len(p.tree.Files) >= maxFiles {
		return "", fmt.Errorf("read Kconfig %s: more than %d bytes in a file, %d bytes or %d files in all", name, maxFileSize, maxTotalSize, maxFiles)
	}
	return string(b), nil
}

// next returns the next statement of the current file, nil at its end.
func (p *parser) next() (*statement, error) {
	if st := p.reused; st != nil {
		p.reused = nil
		return st, nil
	}
	for {
		l, ok := p.src.read()
		if !ok {
			return nil, nil
		}
		trimmed := strings.TrimSpace(l.text)
		if trimmed == "" || trimmed[0] == '#' {
			continue
		}
		word := leadingWord(trimmed)
		switch {
		case keywords[word] && word != "on" && word != "env" && word != "modules":
			toks, err := p.tokenize(l)
			if err != nil {
				return nil, err
			}
			return &statement{line: l, keyword: word, toks: toks[1:]}, nil
		case strings.Trim(trimmed, "- \t") == "help":
			return &statement{line: l, keyword: "help"}, nil
		case word == "" && !strings.HasPrefix(trimmed, "$("):
			return nil, l.errorf("unknown token at start of line")
		}
		if err := p.assign(l); err != nil {
			return nil, err
		}
	}
}

func leadingWord(s string) string {
	n := 0
	for n < len(s) && isIdent(s[n]) && s[n] != '/' && s[n] != '.' {
		n++
	}
	return s[:n]
}

// block parses statements into parent until the statement end, which opener
// needs; an empty end is the end of the file.
func (p *parser) block(parent *Node, opener *statement, end string) error {
	if p.blocks++; p.blocks > maxBlockNest {
		return opener.errorf("menus, choices and if blocks are nested more than %d deep", maxBlockNest)
	}
	defer func() { p.blocks-- }()
	for {
		st, err := p.next()
		if err != nil {
			return err
		}
		if st == nil {
			if end != "" {
				return &SyntaxError{Pos: diag.Position{File: p.src.file, Line: opener.number}, Line: strings.TrimSpace(opener.text),
					Msg: fmt.Sprintf("unexpected end of file: no %s for this line", end)}
			}
			return nil
		}
		if st.keyword == end {
			return st.atEnd()
		}
		if err := p.statement(parent, st); err != nil {
			return err
		}
	}
}

func (p *parser) statement(parent *Node, st *statement) error {
	switch st.keyword {
	case "config", "menuconfig":
		return p.config(parent, st)
	case "source", "rsource", "osource", "orsource", "gsource", "grsource":
		return p.include(parent, st)
	case "menu":
		return p.menu(parent, st)
	case "comment":
		return p.comment(parent, st)
	case "if":
		return p.ifBlock(parent, st)
	case "choice":
		return p.choice(parent, st)
	case "mainmenu":
		title, err := st.str()
		if err != nil {
			return err
		}
		p.tree.Title = title
		return st.atEnd()
	}
	if strings.HasPrefix(st.keyword, "end") {
		return st.errorf("no corresponding '%s'", strings.TrimPrefix(st.keyword, "end"))
	}
	return st.errorf("unrecognized construct")
}

func (p *parser) node(parent *Node, kind NodeKind, st *statement) *Node {
	t := p.tree
	n := &Node{Kind: kind, Dep: t.y, PromptCond: t.y, VisibleIf: t.y, Pos: st.pos(), Parent: parent}
	parent.Children = append(parent.Children, n)
	return n
}

func (p *parser) config(parent *Node, st *statement) error {
	s, err := p.nonConst(st)
	if err != nil {
		return err
	}
	if err := st.atEnd(); err != nil {
		return err
	}
	n := p.node(parent, SymbolNode, st)
	n.Symbol, n.Menuconfig = s, st.keyword == "menuconfig"
	if !s.Defined() {
		p.tree.defined = append(p.tree.defined, s)
	}
	s.Nodes = append(s.Nodes, n)
	if err := p.properties(n); err != nil {
		return err
	}
	if n.Menuconfig && !n.HasPrompt {
		p.warnf(n.Pos, "the menuconfig symbol %s has no prompt", nameAndLoc(s))
	}
	return nil
}

func (p *parser) include(parent *Node, st *statement) error {
	pattern, err := st.str()
	if err != nil {
		return err
	}
	if err := st.atEnd(); err != nil {
		return err
	}
	full := pattern
	if strings.Contains(st.keyword, "rs") { // rsource, orsource, grsource
		full = path.Join(path.Dir(st.file), pattern)
	}
	full = path.Clean(full)
	if path.IsAbs(full) || full == ".." || strings.HasPrefix(full, "../") {
		return st.errorf("%q leads out of the tree", pattern)
	}
	names, err := fs.Glob(p.fsys, full)
	if err != nil {
		return st.errorf("bad pattern %q", pattern)
	}
	slices.Sort(names)
	optional := strings.HasPrefix(st.keyword, "o") || strings.HasPrefix(st.keyword, "g")
	if len(names) == 0 && !optional {
		return st.errorf("'%s' not found", pattern)
	}
	for _, name := range names {
		if err := p.file(name, parent, st.line); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) menu(parent *Node, st *statement) error {
	n := p.node(parent, MenuNode, st)
	if err := p.title(n, st); err != nil {
		return err
	}
	if err := p.properties(n); err != nil {
		return err
	}
	return p.block(n, st, "endmenu")
}

func (p *parser) comment(parent *Node, st *statement) error {
	n := p.node(parent, CommentNode, st)
	if err := p.title(n, st); err != nil {
		return err
	}
	return p.properties(n)
}

func (p *parser) title(n *Node, st *statement) (err error) {
	if n.Prompt, err = st.str(); err != nil {
		return err
	}
	n.HasPrompt = true
	return st.atEnd()
}

func (p *parser) ifBlock(parent *Node, st *statement) error {
	n := p.node(parent, ifNode, st)
	cond, err := p.expr(st, true)
	if err != nil {
		return err
	}
	n.Dep = cond
	n.conds = append(n.conds, Condition{IfBlock, cond, st.pos()})
	if err := st.atEnd(); err != nil {
		return err
	}
	return p.block(n, st, "endif")
}

func (p *parser) choice(parent *Node, st *statement) error {
	n := p.node(parent, ChoiceNode, st)
	name := ""
	if st.i < len(st.toks) {
		name = st.toks[st.i].text
		st.i++
	}
	c := p.choices[name]
	if name == "" || c == nil {
		c = &Choice{Name: name}
		p.tree.Choices = append(p.tree.Choices, c)
		if name != "" {
			p.choices[name] = c
		}
	}
	c.Nodes = append(c.Nodes, n)
	n.Choice, n.Menuconfig = c, true
	if err := st.atEnd(); err != nil {
		return err
	}
	if err := p.properties(n); err != nil {
		return err
	}
	return p.block(n, st, "endchoice")
}

// symbol returns the symbol of that name and notes its first mention.
func (t *Tree) symbol(name string) *Symbol {
	if s := t.byName[name]; s != nil {
		return s
	}
	s := &Symbol{Name: name}
	t.byName[name] = s
	t.Symbols = append(t.Symbols, s)
	return s
}

// constant returns the symbol for a quoted string. It has no type: compared
// with a string symbol it counts as a number if both look like one.
func (t *Tree) constant(value string) *Symbol {
	if s := t.consts[value]; s != nil {
		return s
	}
	s := &Symbol{Name: value, Const: true}
	t.consts[value] = s
	return s
}

func (st *statement) peek() (token, bool) {
	if st.i < len(st.toks) {
		return st.toks[st.i], true
	}
	return token{}, false
}

// accept takes the next token if it is this operator or bare word.
func (st *statement) accept(kind tokenKind, text string) bool {
	if tok, ok := st.peek(); ok && tok.kind == kind && tok.text == text {
		st.i++
		return true
	}
	return false
}

// str takes a string; a bare word will do.
func (st *statement) str() (string, error) {
	tok, ok := st.peek()
	if !ok || tok.kind == opToken {
		return "", st.errorf("expected string")
	}
	st.i++
	return tok.text, nil
}

func (st *statement) atEnd() error {
	if st.i < len(st.toks) {
		return st.errorf("extra tokens at end of line")
	}
	return nil
}
