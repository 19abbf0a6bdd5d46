package pvcontrol

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// completeCommand is what the shells' completion scripts call: the words so far,
// the last one perhaps unfinished. It prints a candidate and its description a
// line, or ":file" where a file is wanted.
const completeCommand = "__complete"

// completeTime is how long a person waits after the tab key.
const completeTime = time.Second

const bashScript = `# bash completion for pvcontrol; load it with: source <(pvcontrol completion bash)
_pvcontrol() {
    local out
    out=$("${COMP_WORDS[0]}" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    if [ "$out" = ":file" ]; then
        compopt -o default
        COMPREPLY=()
        return
    fi
    local IFS=$'\n'
    COMPREPLY=($(cut -f 1 <<<"$out"))
}
complete -F _pvcontrol pvcontrol
`

const zshScript = `#compdef pvcontrol
# zsh completion for pvcontrol; load it with: source <(pvcontrol completion zsh)
_pvcontrol() {
    local out
    out=$("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)
    if [[ "$out" == ":file" ]]; then
        _files
        return
    fi
    local -a candidates
    candidates=("${(@f)$(print -r -- "$out" | sed -e 's/:/\\:/g' -e 's/\t/:/')}")
    [[ -n "$out" ]] && _describe pvcontrol candidates
}
compdef _pvcontrol pvcontrol
`

const fishScript = `# fish completion for pvcontrol; load it with: pvcontrol completion fish | source
function __pvcontrol
    set -l words (commandline -opc) (commandline -ct)
    set -l out ($words[1] __complete $words[2..-1] 2>/dev/null)
    if test "$out" = ":file"
        __fish_complete_path (commandline -ct)
    else
        printf '%s\n' $out
    end
end
complete -c pvcontrol -f -a '(__pvcontrol)'
`

func printCompletion(_ context.Context, s *session, _ *verb, args []string) int {
	scripts := map[string]string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}
	text, ok := scripts[args[0]]
	if !ok {
		s.env.Errorf("there is no completion for %q: bash, zsh and fish have one", args[0])
		return exitFailure
	}
	if err := s.print(strings.NewReader(text)); err != nil {
		s.env.Errorf("%v", err)
		return exitFailure
	}
	return exitOK
}

// candidate is a word and what it means.
type candidate struct{ word, summary string }

// complete prints the candidates for the last word.
func (s *session) complete(ctx context.Context, words []string) int {
	if len(words) == 0 {
		words = []string{""}
	}
	last := words[len(words)-1]
	list := s.candidates(ctx, words[:len(words)-1])
	for _, c := range list {
		if c.word == ":file" {
			fmt.Fprintln(s.env.Stdout, c.word)
		} else if strings.HasPrefix(c.word, last) {
			fmt.Fprintf(s.env.Stdout, "%s\t%s\n", c.word, c.summary)
		}
	}
	return exitOK
}

// candidates are what may follow the words.
func (s *session) candidates(ctx context.Context, words []string) []candidate {
	if _, err := s.options(words); err != nil { // the option's value is wanted
		if words[len(words)-1] == "-m" {
			return nil
		}
		return []candidate{{word: ":file"}}
	}
	if len(s.rest) == 0 {
		list := []candidate{{"-s", "ask at this socket"}, {"-f", "output file"}, {"-m", "message"}, {"-v", "verbose"}, {"--table", "tables for people"}, {"-h", "help"}}
		for _, g := range groups() {
			list = append(list, candidate{g.names[0], g.summary})
		}
		return list
	}
	g := findGroup(s.rest[0])
	if g == nil {
		return nil
	}
	v, given := g.bare, s.rest[1:]
	if v == nil {
		if len(given) == 0 {
			var list []candidate
			for _, v := range g.verbs {
				list = append(list, candidate{v.name, v.summary})
			}
			return list
		}
		if v, given = g.find(given[0]), given[1:]; v == nil {
			return nil
		}
	}
	if len(given) >= len(v.args) {
		if v.columns != nil && len(given) == len(v.args) {
			return []candidate{{"--table", "as a table"}}
		}
		return nil
	}
	return s.values(ctx, v.args[len(given)].kind)
}

// values asks the server what there is of a kind. Without an answer there is
// nothing to offer.
func (s *session) values(ctx context.Context, k kind) []candidate {
	switch k {
	case file:
		return []candidate{{word: ":file"}}
	case shell:
		return []candidate{{"bash", ""}, {"zsh", ""}, {"fish", ""}}
	case container:
		return s.listed(ctx, "/containers", "name", "status")
	case daemon:
		return s.listed(ctx, "/daemons", "name", "pid")
	case revision:
		return append([]candidate{{"current", "the running revision"}}, s.listed(ctx, "/steps", "name", "commitmsg")...)
	case object:
		return s.listed(ctx, "/objects", "sha256", "size")
	case devKey:
		return s.listed(ctx, "/device-meta", "key", "value")
	case usrKey:
		return s.listed(ctx, "/user-meta", "key", "value")
	}
	return nil
}

func (s *session) listed(ctx context.Context, path, key, summary string) []candidate {
	ctx, cancel := context.WithTimeout(ctx, completeTime)
	defer cancel()
	resp, done, err := s.ask(ctx, request{path: path})
	if err != nil {
		return nil
	}
	defer done()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxState))
	if err != nil || resp.Status != 200 {
		return nil
	}
	rows, err := tableRows(b)
	if err != nil {
		return nil
	}
	found := map[string]candidate{}
	for _, row := range rows {
		if word := cell(row, key); word != "-" && !strings.ContainsAny(word, " \t") {
			found[word] = candidate{word, cell(row, summary)}
		}
	}
	var list []candidate
	for _, word := range slices.Sorted(maps.Keys(found)) {
		list = append(list, found[word])
	}
	return list
}
