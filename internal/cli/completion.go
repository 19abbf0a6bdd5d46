package cli

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// bashWords is what cobra's script for bash calls to split the line, and what
// we put there: cobra's needs the package bash-completion, for files too.
const (
	bashWords = `    _get_comp_words_by_ref "$@" cur prev words cword
`
	bashWordsAlone = `    if declare -F _get_comp_words_by_ref >/dev/null 2>&1; then
        _get_comp_words_by_ref "$@" cur prev words cword
        return
    fi
    # Without the package bash-completion: the words as they stand on the line.
    local line="${COMP_LINE:0:COMP_POINT}"
    read -r -a words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    cword=$((${#words[@]} - 1))
    cur="${words[cword]}"
    prev="${words[cword - 1]}"
`
	bashFiles = `
__pvkit_filedir()
{
    if declare -F _filedir >/dev/null 2>&1; then
        _filedir "$@"
        return
    fi
    local kind=-f
    [[ ${1-} == -d ]] && kind=-d
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen "$kind" -- "$cur")
}
`
)

// completeAlone makes the script of "completion bash" work by itself.
func completeAlone(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	c, _, err := root.Find([]string{"completion", "bash"})
	if err != nil || c.Name() != "bash" {
		return
	}
	c.Long = `Generate the autocompletion script for the bash shell.

To load completions in your current shell session:

	source <(pvkit completion bash)

For every new session, put that line into ~/.bashrc.`
	c.RunE = func(c *cobra.Command, _ []string) error {
		plain, err := c.Flags().GetBool("no-descriptions")
		if err != nil {
			return err
		}
		return bashScript(root, c.OutOrStdout(), !plain)
	}
}

func bashScript(root *cobra.Command, w io.Writer, descriptions bool) error {
	var b bytes.Buffer
	if err := root.GenBashCompletionV2(&b, descriptions); err != nil {
		return err
	}
	if !strings.Contains(b.String(), bashWords) {
		return fmt.Errorf("the script for bash is not the one that this program knows")
	}
	script := strings.Replace(b.String(), bashWords, bashWordsAlone, 1)
	script = strings.NewReplacer(" _filedir", " __pvkit_filedir", "\"_filedir", "\"__pvkit_filedir").Replace(script)
	_, err := io.WriteString(w, script+bashFiles)
	return err
}
