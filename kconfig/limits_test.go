package kconfig_test

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/pvkit/pvkit/kconfig"
)

func TestBadInput(t *testing.T) {
	many := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	for name, tt := range map[string]struct {
		files map[string]string
		want  string
	}{
		"source outside of the tree": {map[string]string{"Kconfig": "\nsource \"../x\"\n"}, `Kconfig:2: error: couldn't parse 'source "../x"': "../x" leads out of the tree`},
		"glob outside of the tree":   {map[string]string{"Kconfig": "osource \"a/../../*\"\n"}, "leads out of the tree"},
		"absolute source":            {map[string]string{"Kconfig": "source \"/etc/passwd\"\n"}, "leads out of the tree"},
		"rsource outside":            {map[string]string{"Kconfig": "source \"a/K\"\n", "a/K": "rsource \"../../x\"\n"}, "a/K:1: error"},
		"source of itself":           {map[string]string{"Kconfig": "source \"a\"\n", "a": "source \"Kconfig\"\n"}, "recursive 'source': Kconfig -> a -> Kconfig"},
		"missing source":             {map[string]string{"Kconfig": "source \"none\"\n"}, "'none' not found"},
		"bad pattern":                {map[string]string{"Kconfig": "source \"[\"\n"}, `bad pattern "["`},
		"nested ifs":                 {map[string]string{"Kconfig": many(200_000, "if A%d\n")}, "Kconfig:1000: error: couldn't parse 'if A999': menus, choices and if blocks are nested more than 1000 deep"},
		"nested parentheses":         {map[string]string{"Kconfig": "config A\n\tbool\n\tdepends on " + strings.Repeat("(", 1_000_000) + "\n"}, "nested more than 1000 deep"},
		"nested negations":           {map[string]string{"Kconfig": "config A\n\tbool\n\tdepends on " + strings.Repeat("!", 1_000_000) + "A\n"}, "nested more than 1000 deep"},
		"macro of itself":            {map[string]string{"Kconfig": "a = $(a)\nconfig $(a)\n"}, "nested more than 64 deep"},
		"growing macro":              {map[string]string{"Kconfig": "a = " + strings.Repeat("x", 1000) + "\n" + many(30, "a%[1]d := $(a)$(a)\na := $(a%[1]d)\n") + "config $(a)\n"}, "expands to more than"},
		"open string":                {map[string]string{"Kconfig": "config A\n\tbool \"a\n"}, "Kconfig:2: error: couldn't parse 'bool \"a': unterminated string"},
		"open menu":                  {map[string]string{"Kconfig": "menu \"m\"\n"}, "Kconfig:1: error"},
		"loop":                       {map[string]string{"Kconfig": "config A\n\tbool \"a\"\n\tdepends on B\nconfig B\n\tbool \"b\"\n\tdepends on A\n"}, "dependency loop: "},
		"NUL":                        {map[string]string{"Kconfig": "config A\x00\n"}, "Kconfig:1: error"},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := fstest.MapFS{}
			for f, text := range tt.files {
				fsys[f] = &fstest.MapFile{Data: []byte(text)}
			}
			_, err := kconfig.Load(fsys, "Kconfig", kconfig.Options{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %.300v, want %s", err, tt.want)
			}
		})
	}
}

// endless is a file of the size it says, without the memory.
type endless struct{ size int64 }

func (e *endless) Open(name string) (fs.File, error) {
	if name != "Kconfig" {
		return nil, fs.ErrNotExist
	}
	return &endlessFile{left: e.size}, nil
}

type endlessFile struct{ left, read int64 }

func (f *endlessFile) Stat() (fs.FileInfo, error) { return nil, errors.ErrUnsupported }
func (f *endlessFile) Close() error               { return nil }
func (f *endlessFile) Read(p []byte) (int, error) {
	n := copy(p, strings.Repeat("# nothing\n", len(p)/10+1))
	if f.read += int64(n); f.read > 8<<20 {
		return 0, fmt.Errorf("%d bytes were read of a file that is too large", f.read)
	}
	return n, nil
}

func TestLargeFile(t *testing.T) {
	_, err := kconfig.Load(&endless{100 << 20}, "Kconfig", kconfig.Options{})
	if err == nil || !strings.Contains(err.Error(), "more than 4194304 bytes in a file") {
		t.Errorf("error %v", err)
	}
}

func TestManyFiles(t *testing.T) {
	fsys := fstest.MapFS{"Kconfig": {Data: []byte("source \"d/*\"\n")}}
	for i := range 10_001 {
		fsys[fmt.Sprintf("d/%05d", i)] = &fstest.MapFile{}
	}
	if _, err := kconfig.Load(fsys, "Kconfig", kconfig.Options{}); err == nil || !strings.Contains(err.Error(), "10000 files") {
		t.Errorf("error %v", err)
	}
	deep := fstest.MapFS{}
	for i := range 300 {
		deep[fmt.Sprintf("K%d", i)] = &fstest.MapFile{Data: fmt.Appendf(nil, "source \"K%d\"\n", i+1)}
	}
	if _, err := kconfig.Load(deep, "K0", kconfig.Options{}); err == nil || !strings.Contains(err.Error(), "nested more than 200 deep") {
		t.Errorf("error %v", err)
	}
}

// TestLongChains evaluates what is legal and deep: each symbol depends on the
// one before, and one condition has very many parts.
func TestLongChains(t *testing.T) {
	const n = 50_000
	var b strings.Builder
	b.WriteString("config A0\n\tbool \"a\"\n\tdefault y\n")
	for i := 1; i < n; i++ {
		fmt.Fprintf(&b, "config A%d\n\tbool\n\tdefault A%d\n", i, i-1)
	}
	fmt.Fprintf(&b, "config WIDE\n\tbool \"w\"\n\tdepends on %sA0\n", strings.Repeat("A0 && ", 100_000))
	begin := time.Now()
	tree := load(t, b.String())
	conf := tree.New()
	if got := conf.Str(tree.Lookup(fmt.Sprintf("A%d", n-1))); got != "y" {
		t.Errorf("the last symbol is %s", got)
	}
	if err := conf.Set("A0", "n"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{fmt.Sprintf("A%d", n-1), "WIDE"} {
		e, err := conf.Explain(name)
		if err != nil || e.Value != "n" {
			t.Errorf("%s: %v, %v", name, e.Value, err)
		}
	}
	if _, err := kconfig.Check(tree, kconfig.Project{}); err != nil {
		t.Error(err)
	}
	if d := time.Since(begin); d > 20*time.Second {
		t.Errorf("took %s", d)
	}
}

// FuzzLoad reads any bytes: parsing, evaluation, explanation and checks come
// back, and every finding has a place.
func FuzzLoad(f *testing.F) {
	f.Add(explained, "BOARD_C", "y")
	f.Add("config A\n\tstring \"a $(X) ${Y}\"\n\tdefault \"b\" if A = \"\\\"\"\n\trange 1 0x2\n", "A", "text")
	f.Add("menuconfig M\n\ttristate \"m\"\n\toption env=\"X\"\nif M = m\ncomment \"c\"\n\tvisible if M\nendif\n", "M", "m")
	f.Add("mainmenu 'x'\nchoice N\n\tprompt \"p\" if !A || B\n\toptional\nconfig A\n\tbool \"a\"\n\tselect B\n\thelp\n\t  text\n\n more\nendchoice\nX := $(lineno)$(warning-if,y,w)\n", "A", "n")
	f.Add("osource \"*\"\norsource \"[a\"\nsource \"Kconfig\"\n", "", "")
	f.Fuzz(func(t *testing.T, text, symbol, value string) {
		if len(text) > 1<<16 {
			return
		}
		fsys := fstest.MapFS{"Kconfig": {Data: []byte(text)}}
		tree, err := kconfig.Load(fsys, "Kconfig", kconfig.Options{Env: func(name string) (string, bool) { return "v", name == "Y" }})
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without a text")
			}
			return
		}
		conf := tree.New()
		_ = conf.Set(symbol, value) // most are refused
		for _, s := range tree.Symbols {
			e, err := conf.Explain(s.Name)
			if err != nil {
				t.Fatalf("%s: %v", s.Name, err)
			}
			if e.Value != conf.Str(s) || len(e.Reasons) == 0 {
				t.Errorf("%s is %q and explained as %q", s.Name, conf.Str(s), e)
			}
		}
		for _, ch := range tree.Choices {
			conf.Selection(ch)
		}
		found, err := kconfig.Check(tree, kconfig.Project{FS: fsys})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range found {
			if d.Pos.File == "" || d.Rule == "" || d.Message == "" {
				t.Errorf("a finding without a place, rule or message: %+v", d)
			}
		}
	})
}
