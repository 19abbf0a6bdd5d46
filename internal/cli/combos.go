package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/kas"
	"github.com/pvkit/pvkit/kconfig"
	"github.com/pvkit/pvkit/layer/bitbake"
	"github.com/pvkit/pvkit/layer/combos"
)

func combosCommand(env Env) *cobra.Command {
	var k kconfigFlags
	o := &lintOptions{}
	var repos []string
	var asJSON bool
	c := &cobra.Command{
		Use:   "combos",
		Short: "Evaluate every configuration that the Kconfig menu can reach",
		Long: `Evaluate every combination of the menu's choices (machine, build type, codename,
target), with kas and BitBake's own evaluation: for each the machine, distro,
targets, includes, PANTAVISOR_FEATURES and BBMULTICONFIG. Then the
contradictions: a multiconfig that no layer defines, a machine file that sets
another machine, branches of two releases, a switch that changes nothing, a
setting that loses by the order of ids.

Switches that are no choice keep their defaults; each of them is also tried
both ways. Layers are looked for where kas checks repositories out; --repo
names other places. What is not on this machine is said and left out.

Exit code 1 means that there are errors.`,
		Example: `  pvkit combos
  pvkit combos --repo poky=../poky --json | jq '.combos[] | select(.machine == "rpi")'
  pvkit combos --format sarif > combos.sarif`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, args []string) error {
			tree, _, err := k.load()
			if err != nil {
				return err
			}
			options, err := k.combosOptions(env, tree, repos)
			if err != nil {
				return err
			}
			report := reporter(nil)
			if o.format != "table" {
				if report, err = newReporter(o); err != nil {
					return usageError{err}
				}
			}
			rep, err := combos.Run(c.Context(), options)
			if err != nil {
				return err
			}
			switch {
			case asJSON:
				err = json.NewEncoder(env.Stdout).Encode(map[string]any{
					"combos": append([]combos.Combo{}, rep.Combos...), "findings": append([]diag.Diagnostic{}, rep.Findings...), "absent": append([]string{}, rep.Absent...)})
			case report != nil:
				err = report(env.Stdout, &findings{list: rep.Findings})
			default:
				err = writeCombos(env.Stdout, rep)
			}
			if err != nil {
				return err
			}
			if len(rep.Absent) > 0 && !asJSON {
				fmt.Fprintf(env.Stderr, "pvkit: not on this machine, and not evaluated: %s\n", strings.Join(rep.Absent, ", "))
			}
			if worst, some := diag.Worst(rep.Findings); some && worst == diag.Error {
				return ErrFindings
			}
			return nil
		},
	}
	k.register(c)
	k.registerDialect(c)
	c.Flags().StringArrayVar(&repos, "repo", nil, "where a repository lies: `ID=DIRECTORY`; may be repeated")
	c.Flags().StringVar(&o.format, "format", "table", "table, text, oneline, json, jsonl, sarif, github or junit: all but the table are the findings alone")
	c.Flags().BoolVar(&asJSON, "json", false, "print combinations and findings as JSON")
	c.MarkFlagsMutuallyExclusive("format", "json")
	return c
}

// combosOptions gathers what combos.Run needs.
func (k *kconfigFlags) combosOptions(env Env, tree *kconfig.Tree, repos []string) (combos.Options, error) {
	var o combos.Options
	dialect, why, err := k.kasDialect(tree)
	if err != nil {
		return o, err
	}
	if why != "" {
		fmt.Fprintf(env.Stderr, "pvkit: dialect %s: %s (--dialect says otherwise)\n", dialect, why)
	}
	root, err := filepath.Abs(k.dir)
	if err != nil {
		return o, err
	}
	places := map[string]string{}
	for _, r := range repos {
		id, dir, ok := strings.Cut(r, "=")
		if !ok || id == "" {
			return o, usagef("--repo %s: want ID=DIRECTORY", r)
		}
		if places[id], err = filepath.Abs(dir); err != nil {
			return o, err
		}
		if _, err := os.Stat(dir); err != nil {
			return o, err
		}
	}
	machine := os.DirFS("/")
	return combos.Options{
		Tree: tree, Loader: bitbake.NewLoader(machine), Workers: runtime.GOMAXPROCS(0),
		Kas: kas.Options{Dialect: dialect, FS: machine, Dir: root, WorkDir: env.Getenv("KAS_WORK_DIR"), Repos: places},
	}, nil
}

func writeCombos(w io.Writer, rep *combos.Report) error {
	tw := tabwriter.NewWriter(w, 2, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "MACHINE\tDISTRO\tTARGETS\tCHOICES\tPANTAVISOR_FEATURES\tBBMULTICONFIG")
	for _, c := range rep.Combos {
		if c.Refused != "" {
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\trefused: %s\t\n", c.Machine, c.Distro, strings.Join(c.Targets, " "), strings.Join(c.Choices, " "), c.Refused)
			continue
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", c.Machine, c.Distro, strings.Join(c.Targets, " "), strings.Join(c.Choices, " "), shortWords(c.Features, c.Absent), shortWords(c.Multiconfig, c.Absent))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "\n%d combinations, %d findings\n", len(rep.Combos), len(rep.Findings)); err != nil {
		return err
	}
	for _, d := range rep.Findings {
		if _, err := fmt.Fprintln(w, d); err != nil {
			return err
		}
	}
	return nil
}

func shortWords(v combos.Value, absent []string) string {
	s := strings.Join(v.Words, " ")
	if !v.Known {
		s = strings.TrimSpace(s + " (not known: " + v.Why + ")")
	}
	switch {
	case s == "" && len(absent) > 0:
		return "? (layers are absent)"
	case s == "":
		return "-"
	}
	return s
}
