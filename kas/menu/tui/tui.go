// Package tui is the interactive menu of a Kconfig file in a terminal: the
// choices of `kas menu`, with what they lead to shown live and the reason why
// a symbol cannot be set. Start at Run.
package tui

import (
	"context"
	"fmt"
	"io"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/pvkit/pvkit/kas"
	"github.com/pvkit/pvkit/kas/menu"
	"github.com/pvkit/pvkit/kconfig"
)

// Options are what a menu works on.
type Options struct {
	Config  *kconfig.Config
	Dialect kas.Dialect
	In      io.Reader // a terminal
	Out     io.Writer
}

// Run shows the menu until the user leaves it. save reports whether the user
// wants the result to be kept; the values are in Options.Config either way.
func Run(ctx context.Context, o Options) (save bool, err error) {
	m := &model{conf: o.Config, dialect: o.Dialect, width: 80, height: 24, path: []place{{node: o.Config.Tree().Root}}}
	_, err = tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(o.In), tea.WithOutput(o.Out), tea.WithoutSignalHandler()).Run()
	return m.save, err
}

// mode is what keys mean at the moment.
type mode uint8

const (
	browsing mode = iota
	editing       // the value of a string, int or hex symbol
	searching
	reading // an explanation or a help text
	leaving // asked whether to throw changes away
)

// place is a menu with the row that the cursor is on.
type place struct {
	node   *kconfig.Node
	cursor int
}

type model struct {
	conf          *kconfig.Config
	dialect       kas.Dialect
	path          []place // from the main menu to the one on show
	all           bool    // show what cannot be set, too
	mode          mode
	input         string // of editing and searching
	text          []string
	scroll        int
	note          string
	changed, save bool
	width, height int
}

func (m *model) Init() tea.Cmd { return nil }

func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		if msg.String() == "ctrl+c" {
			return m, tea.Quit
		}
		return m, m.key(tea.Key(msg))
	case tea.PasteMsg:
		if m.mode == editing || m.mode == searching {
			m.input += msg.Content
		}
	}
	return m, nil
}

func (m *model) key(key tea.Key) tea.Cmd {
	switch m.mode {
	case editing, searching:
		m.typed(key)
	case reading:
		m.page(key.String())
	case leaving:
		if key.String() == "y" {
			return tea.Quit
		}
		m.mode = browsing
	default:
		return m.browse(key.String())
	}
	return nil
}

// browse handles a key in a menu.
func (m *model) browse(key string) tea.Cmd {
	m.note = ""
	rows := m.rows()
	at := &m.path[len(m.path)-1]
	at.cursor = min(at.cursor, max(len(rows)-1, 0))
	switch key {
	case "up", "k":
		at.cursor = max(at.cursor-1, 0)
	case "down", "j":
		at.cursor = min(at.cursor+1, max(len(rows)-1, 0))
	case "home":
		at.cursor = 0
	case "end":
		at.cursor = max(len(rows)-1, 0)
	case "a":
		m.all = !m.all
	case "/":
		m.mode, m.input = searching, ""
	case "s":
		m.save = true
		return tea.Quit
	case "q", "esc", "left", "h":
		switch {
		case key != "q" && len(m.path) > 1:
			m.path = m.path[:len(m.path)-1]
		case key == "left" || key == "h":
		case m.changed:
			m.mode = leaving
		default:
			return tea.Quit
		}
	default:
		if at.cursor < len(rows) {
			m.onRow(key, rows[at.cursor].node)
		}
	}
	return nil
}

// space is what the key is called.
const space = "space"

// onRow handles a key that is meant for one entry.
func (m *model) onRow(key string, n *kconfig.Node) {
	switch key {
	case "?":
		m.explain(n)
	case space, "enter", "right", "l", "y", "n":
		switch {
		case n.Symbol == nil && n.Kind == kconfig.MenuNode, n.Menuconfig && n.Symbol != nil && key != space && len(n.Children) > 0:
			m.path = append(m.path, place{node: n})
		case n.Symbol != nil:
			m.change(key, n.Symbol)
		}
	}
}

// change sets a symbol by a key.
func (m *model) change(key string, s *kconfig.Symbol) {
	if m.conf.Visibility(s) == kconfig.N {
		m.note = s.Name + " cannot be set now: ? says why"
		return
	}
	if s.Type != kconfig.Bool && s.Type != kconfig.Tristate {
		m.mode, m.input = editing, m.conf.Str(s)
		return
	}
	value := "y"
	if key == "n" || key != "y" && s.Choice == nil && m.conf.Tri(s) != kconfig.N {
		value = "n"
	}
	m.set(s, value)
}

func (m *model) set(s *kconfig.Symbol, value string) {
	before := m.conf.Str(s)
	if err := m.conf.Set(s.Name, value); err != nil {
		m.note = err.Error()
		return
	}
	m.changed = m.changed || m.conf.Str(s) != before
	if got := m.conf.Str(s); got != value {
		m.note = fmt.Sprintf("%s stays %s: ? says why", s.Name, got)
	}
}

// typed edits the line of input.
func (m *model) typed(key tea.Key) {
	switch key.Code {
	case tea.KeyEscape:
		m.mode = browsing
	case tea.KeyBackspace:
		if r := []rune(m.input); len(r) > 0 {
			m.input = string(r[:len(r)-1])
		}
	case tea.KeyEnter:
		was := m.mode
		m.mode = browsing
		if was == searching {
			m.search()
			return
		}
		at := m.path[len(m.path)-1]
		if rows := m.rows(); at.cursor < len(rows) {
			m.set(rows[at.cursor].node.Symbol, m.input)
		}
	default:
		m.input += key.Text
	}
}

// search goes to the next entry whose name or prompt has the text in it.
func (m *model) search() {
	tree := m.conf.Tree()
	for _, s := range tree.Symbols {
		for _, n := range s.Nodes {
			if !n.HasPrompt || !contains(s.Name, m.input) && !contains(n.Prompt, m.input) {
				continue
			}
			m.goTo(n)
			return
		}
	}
	m.note = fmt.Sprintf("nothing has %q in its name or prompt", m.input)
}

func contains(s, part string) bool {
	return strings.Contains(strings.ToLower(s), strings.ToLower(part))
}

// goTo shows the menu that an entry is in, with the cursor on it.
func (m *model) goTo(n *kconfig.Node) {
	m.path = []place{{node: m.conf.Tree().Root}}
	var menus []*kconfig.Node
	for at := n.Parent; at != nil && at.Parent != nil; at = at.Parent {
		if at.Kind == kconfig.MenuNode || at.Symbol != nil && at.Menuconfig {
			menus = append(menus, at)
		}
	}
	for i := len(menus) - 1; i >= 0; i-- {
		m.path = append(m.path, place{node: menus[i]})
	}
	if m.conf.Eval(n.PromptCond) == kconfig.N {
		m.all = true
	}
	for i, r := range m.rows() {
		if r.node == n {
			m.path[len(m.path)-1].cursor = i
		}
	}
}

// explain shows the help of an entry and why it has its value.
func (m *model) explain(n *kconfig.Node) {
	var b strings.Builder
	if n.Help != "" {
		b.WriteString(n.Help + "\n\n")
	}
	if n.Symbol != nil {
		if e, err := m.conf.Explain(n.Symbol.Name); err == nil {
			b.WriteString(e.String())
		}
	} else {
		fmt.Fprintf(&b, "%s, at %s\n", n.Prompt, n.Pos)
	}
	m.text = strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	m.mode, m.scroll = reading, 0
}

func (m *model) page(key string) {
	switch key {
	case "down", "j":
		m.scroll = min(m.scroll+1, max(len(m.text)-1, 0))
	case "up", "k":
		m.scroll = max(m.scroll-1, 0)
	default:
		m.mode = browsing
	}
}

// leads says what the values lead to.
func (m *model) leads() []string {
	sel, err := menu.Select(m.conf, m.dialect)
	if err != nil {
		return []string{"kas cannot use this: " + err.Error()}
	}
	return []string{
		"files:   " + strings.Join(sel.Includes, " "),
		"targets: " + strings.Join(sel.Targets, " "),
	}
}
