package tui

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/pvkit/pvkit/kconfig"
)

// row is a line of a menu.
type row struct {
	node *kconfig.Node
	text string
}

// rows lists the entries of the menu on show.
func (m *model) rows() []row { return m.below(nil, m.path[len(m.path)-1].node, 0) }

func (m *model) below(out []row, n *kconfig.Node, indent int) []row {
	for _, c := range n.Children {
		if c.HasPrompt && (m.all || m.conf.Eval(c.PromptCond) != kconfig.N) {
			out = append(out, row{c, m.entry(c, indent)})
		}
		if c.Kind != kconfig.MenuNode && (c.Choice != nil || !c.Menuconfig) {
			out = m.below(out, c, indent+2)
		}
	}
	return out
}

// entry is the text of an entry, in the form that kas menu has.
func (m *model) entry(n *kconfig.Node, indent int) string {
	pad := strings.Repeat(" ", indent)
	switch {
	case n.Kind == kconfig.MenuNode:
		return "    " + pad + n.Prompt + "  --->"
	case n.Kind == kconfig.CommentNode:
		return "    " + pad + "*** " + n.Prompt + " ***"
	case n.Choice != nil:
		return "    " + pad + n.Prompt
	}
	text := fmt.Sprintf("%-3s %s%s", m.value(n.Symbol), pad, n.Prompt)
	if n.Menuconfig {
		text += "  --->"
	}
	if m.conf.Eval(n.PromptCond) == kconfig.N {
		text += "  (cannot be set)"
	}
	return text
}

func (m *model) value(s *kconfig.Symbol) string {
	if s.Type != kconfig.Bool && s.Type != kconfig.Tristate {
		return "(" + m.conf.Str(s) + ")"
	}
	mark := [...]string{kconfig.N: " ", kconfig.M: "M", kconfig.Y: "*"}[m.conf.Tri(s)]
	switch {
	case s.Choice != nil:
		return "(" + mark + ")"
	case m.pinned(s):
		return "-" + mark + "-"
	}
	return "[" + mark + "]"
}

// pinned reports whether a symbol that shows has one possible value: another
// one selects it.
func (m *model) pinned(s *kconfig.Symbol) bool {
	if m.conf.Visibility(s) == kconfig.N || m.conf.Tri(s) == kconfig.N {
		return false
	}
	c := m.conf.Clone()
	return c.Set(s.Name, "n") == nil && c.Tri(s) != kconfig.N
}

// View draws the screen.
func (m *model) View() tea.View {
	v := tea.NewView(m.screen())
	v.AltScreen = true
	return v
}

// screen is a title, the menu, what it leads to, and the keys.
func (m *model) screen() string {
	if m.width < 20 || m.height < 10 {
		return "the terminal is too small"
	}
	title := make([]string, len(m.path))
	for i, p := range m.path {
		title[i] = p.node.Prompt
	}
	head := []string{strings.Join(title, " > "), strings.Repeat("-", m.width)}
	leads := m.wrap(m.leads())
	if most := m.height / 3; len(leads) > most {
		leads = append(leads[:most-1], hang+"...")
	}
	foot := append([]string{strings.Repeat("-", m.width)}, leads...)
	foot = append(foot, m.status())
	body := make([]string, max(m.height-len(head)-len(foot), 1))
	m.fill(body)
	lines := append(append(head, body...), foot...)
	for i, l := range lines {
		lines[i] = cut(l, m.width)
	}
	return strings.Join(lines, "\n")
}

// fill writes the menu, or the text that is read, into the lines between.
func (m *model) fill(body []string) {
	if m.mode == reading {
		text := m.wrap(m.text)
		copy(body, text[min(m.scroll, len(text)):])
		return
	}
	rows := m.rows()
	cursor := min(m.path[len(m.path)-1].cursor, max(len(rows)-1, 0))
	top := max(cursor-len(body)+1, 0)
	for i := range body {
		if top+i >= len(rows) {
			return
		}
		mark := "  "
		if top+i == cursor {
			mark = "> "
		}
		body[i] = mark + rows[top+i].text
	}
}

func (m *model) status() string {
	switch {
	case m.mode == editing:
		return "value: " + m.input + "_   (enter: set, esc: keep the old one)"
	case m.mode == searching:
		return "search: " + m.input + "_"
	case m.mode == reading:
		return "up, down: scroll; any other key: back"
	case m.mode == leaving:
		return "leave without saving? y: yes, any other key: no"
	case m.note != "":
		return m.note
	}
	return "space change, enter open, ? why, / search, a all, esc back, s save, q quit"
}

// hang is how far the continuation of a line is indented.
const hang = "         "

// wrap breaks long lines at blanks.
func (m *model) wrap(lines []string) []string {
	var out []string
	for _, l := range lines {
		for len(l) > m.width {
			i := strings.LastIndex(l[:m.width], " ")
			if i <= len(hang) {
				break
			}
			out, l = append(out, l[:i]), hang+l[i+1:]
		}
		out = append(out, l)
	}
	return out
}

// cut shortens a line to the width of the screen.
func cut(s string, width int) string {
	if r := []rune(s); len(r) > width {
		return string(r[:width])
	}
	return s
}
