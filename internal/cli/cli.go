// Package cli is pvkit's command line as a function: arguments, streams and
// environment go in, an exit code comes out. Each command has a file of its
// own; commands lists them.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The exit codes of every pvkit command.
const (
	ExitOK       = 0  // the work is done, nothing to report
	ExitFindings = 1  // the work is done and found problems
	ExitFailure  = 2  // the work could not be done
	ExitUsage    = 64 // the command line makes no sense (EX_USAGE)
)

// Env is what a process gets from outside.
type Env struct {
	Args           []string // without the program's name
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
}

// ErrFindings ends a command that did its work, printed what it found, and
// found problems.
var ErrFindings = errors.New("problems found")

// usageError is a command line that makes no sense.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// usagef makes an error that exits with ExitUsage.
func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// commands lists every command; a new one is a file and a line here.
func commands(env Env) []*cobra.Command {
	return []*cobra.Command{
		buildCommand(env),
		addCommand(env),
		getvarCommand(env),
		explainCommand(env),
		lintCommand(env),
		featuresCommand(env),
		kconfigCommand(env),
		menuCommand(env),
		inspectCommand(env),
		verifyCommand(env),
		signCommand(env),
		diffCommand(env),
		lsCommand(env),
		catCommand(env),
		extractCommand(env),
		unpackCommand(env),
		txCommand(env),
		logsCommand(env),
		kasCommand(env),
		combosCommand(env),
		testCommand(env),
		upCommand(env),
		versionCommand(env),
	}
}

// Main runs the command line and returns the exit code.
func Main(ctx context.Context, env Env) int {
	env.Stdin = &input{ctx: ctx, r: env.Stdin}
	root := &cobra.Command{
		Use:   "pvkit",
		Short: "Package, check and run Pantavisor containers",
		Long: `pvkit packages, checks and runs Pantavisor containers.

Exit codes: 0 ok, 1 findings, 2 failure, 64 usage.`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetArgs(env.Args)
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	root.SetFlagErrorFunc(flagError)
	root.Version = buildVersion().String()
	root.SetVersionTemplate("pvkit {{.Version}}\n")
	root.AddCommand(commands(env)...)
	completeAlone(root)
	strict(root)

	c, err := root.ExecuteContextC(ctx)
	var usage usageError
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, ErrFindings):
		return ExitFindings
	case errors.As(err, &usage), strings.HasPrefix(err.Error(), "unknown command"), strings.HasPrefix(err.Error(), "if any flags in the group"):
		fmt.Fprintf(env.Stderr, "pvkit: %v\nRun '%s --help' for usage.\n", err, c.CommandPath())
		return ExitUsage
	case ctx.Err() != nil:
		fmt.Fprintln(env.Stderr, "pvkit: interrupted")
		return ExitFailure
	}
	fmt.Fprintf(env.Stderr, "pvkit: %v\n", err)
	return ExitFailure
}

// strict turns cobra's own argument checks into usage errors, for the whole
// tree of commands, and lets a group without its subcommand say what it has.
func strict(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return argumentError(c, args, err)
			}
			return nil
		}
	}
	if c.HasParent() && c.HasSubCommands() && c.RunE == nil && c.Run == nil {
		c.RunE = func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("%s has no command %q", c.CommandPath(), args[0])
			}
			return c.Help()
		}
	}
	for _, sub := range c.Commands() {
		strict(sub)
	}
}

// argumentError says which arguments a command takes, in its own words.
func argumentError(c *cobra.Command, args []string, err error) error {
	_, wants, _ := strings.Cut(c.Use, " ")
	switch {
	case wants == "":
		return usagef("%s: it takes no arguments, and there is %q", name(c), args[0])
	case strings.HasPrefix(err.Error(), "accepts "), strings.HasPrefix(err.Error(), "requires "): // cobra's counting
		return usagef("%s: want %s; found %s", name(c), wants, countArguments(len(args)))
	}
	return usageError{fmt.Errorf("%s: %w", name(c), err)}
}

func countArguments(n int) string {
	switch n {
	case 0:
		return "no arguments"
	case 1:
		return "one argument"
	}
	return fmt.Sprintf("%d arguments", n)
}

// name is how a message names a command: its path without the program.
func name(c *cobra.Command) string {
	return strings.TrimPrefix(c.CommandPath(), c.Root().Name()+" ")
}

func flagError(c *cobra.Command, err error) error {
	if errors.Is(err, pflag.ErrHelp) {
		return err
	}
	if bad, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		if num, ok := errors.AsType[*strconv.NumError](err); ok {
			return usagef("%s: --%s %s: this is no number (%w)", name(c), bad.GetFlag().Name, bad.GetValue(), num.Err)
		}
		return usagef("%s: --%s %s: %w", name(c), bad.GetFlag().Name, bad.GetValue(), bad.Unwrap())
	}
	return usageError{fmt.Errorf("%s: %w", name(c), err)}
}

// exclusive refuses a command line with more than one of some flags.
func exclusive(c *cobra.Command, flags ...string) error {
	first := ""
	for _, name := range flags {
		switch {
		case !c.Flags().Changed(name):
		case first == "":
			first = name
		default:
			return usagef("%s: --%s and --%s exclude each other", c.Name(), first, name)
		}
	}
	return nil
}
