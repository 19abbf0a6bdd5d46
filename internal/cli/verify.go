package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pvkit/pvkit/internal/diag"
	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/pvrexport/pvs"
	"github.com/pvkit/pvkit/pvrexport/squashfs"
)

func verifyCommand(env Env) *cobra.Command {
	var asJSON, strict, quiet bool
	var whom trustFlags
	c := &cobra.Command{
		Use:   "verify FILE...",
		Short: "Check that a device will take a bundle",
		Long: `Check bundles as a device would, and more: the archive, every digest, the state,
the manifests (run.json, services.json, signatures), and every block of the
root filesystems.

A finding is an error if a device refuses, crashes on or silently misreads it; a
warning if it works and cannot have been meant. Exit code 1 means that there
are errors, with --strict also warnings.

With --cacerts or --pubkey the signatures are verified, too, and --mode says
what a device with that PV_SECUREBOOT_MODE makes of them: lenient takes what
has no signature, strict wants every key of the state covered, audit only warns.

FILE is a bundle (tar, plain or packed with gzip or zstd; "-" is standard
input).`,
		Example: `  pvkit verify out/*.pvrexport.tgz
  pvkit verify --cacerts cacerts.pem --mode strict app.pvrexport.tgz
  pvkit verify --json app.pvrexport.tgz | jq -r '.findings[].message'`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := readOnce(args); err != nil {
				return err
			}
			trust, err := whom.load(env)
			if err != nil {
				return err
			}
			failed := false
			for _, name := range args {
				report, err := verifyFile(c.Context(), env, name, trust)
				if err != nil {
					return err
				}
				if err := report.write(env.Stdout, asJSON, quiet); err != nil {
					return err
				}
				worst, found := diag.Worst(report.Findings)
				failed = failed || found && (worst == diag.Error || strict && worst == diag.Warning)
			}
			if failed {
				return ErrFindings
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object for each file")
	c.Flags().BoolVar(&strict, "strict", false, "exit with 1 for warnings, too")
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, "print findings only")
	whom.addTo(c)
	return c
}

// verifyReport is what `pvkit verify` says of a file.
type verifyReport struct {
	File     string            `json:"file"`
	OK       bool              `json:"ok"` // no errors
	Objects  int               `json:"objects"`
	Images   []verifiedImage   `json:"images"`
	Trust    *verifiedTrust    `json:"secureboot,omitempty"` // if signatures were verified
	Findings []diag.Diagnostic `json:"findings"`
}

// verifiedTrust is what a device says of the signatures.
type verifiedTrust struct {
	Mode       string          `json:"mode"`
	OK         bool            `json:"ok"`
	Text       string          `json:"text,omitempty"` // in progress and answers
	Signatures []pvs.Signature `json:"signatures"`
	Excluded   []string        `json:"excluded"`
	Uncovered  []string        `json:"uncovered"`
}

type verifiedImage struct {
	Key         string `json:"key"`
	Compression string `json:"compression"`
	Files       int    `json:"files"`
	Blocks      int    `json:"blocks"`
}

func verifyFile(ctx context.Context, env Env, name string, whom *trust) (report verifyReport, err error) {
	in := env.Stdin
	if name != "-" {
		f, openErr := os.Open(name)
		if openErr != nil {
			return report, openErr
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		in = f
	}
	report = verifyReport{File: name, Images: []verifiedImage{}}
	var trustErr error
	findings, info, err := pvrexport.Verify(ctx, in, pvrexport.VerifyOptions{
		CheckState: func(s *pvrexport.State, has func(string) bool) []diag.Diagnostic {
			if whom == nil {
				return nil
			}
			var found []diag.Diagnostic
			report.Trust, found, trustErr = whom.verify(s, has)
			return found
		},
		TempDir: env.Getenv("TMPDIR"),
		CheckObject: func(key, _ string, content io.ReaderAt, size int64) []diag.Diagnostic {
			if !strings.HasSuffix(key, ".squashfs") {
				return nil
			}
			seen, found := verifyImage(ctx, key, content, size)
			report.Images = append(report.Images, seen)
			return found
		},
	})
	if err = errors.Join(err, trustErr); err != nil {
		return report, fmt.Errorf("verify %s: %w", name, err)
	}
	worst, found := diag.Worst(findings)
	report.OK = !found || worst < diag.Error
	report.Objects, report.Findings = info.Objects, append([]diag.Diagnostic{}, findings...)
	return report, nil
}

// verify checks the signatures of a state and gives a finding for each reason
// that the mode has.
func (t *trust) verify(s *pvrexport.State, has func(string) bool) (*verifiedTrust, []diag.Diagnostic, error) {
	o := t.opts
	o.Now, o.HasObject = time.Now(), has
	r, err := pvs.Verify(s, o)
	if err != nil {
		return nil, nil, err
	}
	verdict := pvs.Enforce(t.mode, r)
	sev := diag.Error
	if verdict.OK {
		sev = diag.Warning
	}
	var found []diag.Diagnostic
	add := func(sev diag.Severity, rule, key, message string) {
		found = append(found, diag.Diagnostic{Pos: diag.Position{File: key}, Severity: sev, Rule: rule, Message: message})
	}
	for _, g := range r.Signatures {
		switch {
		case g.Err != nil:
			add(sev, "signature", g.Key, g.Err.Error())
		case len(g.Missing) > 0:
			add(diag.Warning, "signature-missing", g.Key, "it is valid, and the bundle lacks objects that it covers: "+strings.Join(g.Missing, ", "))
		}
	}
	if t.mode == pvs.Strict || t.mode == pvs.Audit {
		for _, key := range r.Uncovered {
			add(sev, "signature-uncovered", key, "no valid signature covers it")
		}
	}
	return &verifiedTrust{
		Mode: t.mode.String(), OK: verdict.OK, Text: verdict.Text, Signatures: append([]pvs.Signature{}, r.Signatures...),
		Excluded: append([]string{}, r.Excluded...), Uncovered: append([]string{}, r.Uncovered...),
	}, found, nil
}

// verifyImage reads an image to its last block.
func verifyImage(ctx context.Context, key string, content io.ReaderAt, size int64) (verifiedImage, []diag.Diagnostic) {
	seen := verifiedImage{Key: key}
	finding := func(sev diag.Severity, rule, message string) diag.Diagnostic {
		return diag.Diagnostic{Pos: diag.Position{File: key}, Severity: sev, Rule: rule, Message: message}
	}
	im, err := squashfs.Open(content, size)
	if err != nil {
		return seen, []diag.Diagnostic{finding(diag.Error, "image", err.Error())}
	}
	seen.Compression = im.Info().Compression.String()
	problems, stats, err := im.Verify(ctx, squashfs.VerifyOptions{})
	if err != nil {
		return seen, []diag.Diagnostic{finding(diag.Error, "image", err.Error())}
	}
	seen.Files, seen.Blocks = stats.Files, stats.Blocks+stats.Fragments
	var out []diag.Diagnostic
	for _, p := range problems {
		sev := diag.Error
		if p.Gravity == squashfs.Unusual {
			sev = diag.Warning
		}
		message := p.Message
		if p.Path != "" {
			message = printable(p.Path) + ": " + message
		}
		if p.Offset >= 0 {
			message += fmt.Sprintf(" (at byte %d)", p.Offset)
		}
		out = append(out, finding(sev, "image-"+p.Rule, message))
	}
	if stats.More > 0 {
		out = append(out, finding(diag.Note, "image", fmt.Sprintf("%d more problems are not listed", stats.More)))
	}
	return seen, out
}

func (r verifyReport) write(w io.Writer, asJSON, quiet bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(r)
	}
	for _, d := range r.Findings {
		if _, err := fmt.Fprintf(w, "%s: %s\n", r.File, d); err != nil {
			return err
		}
	}
	if quiet {
		return nil
	}
	if r.Trust != nil {
		for _, g := range r.Trust.Signatures {
			if g.Err == nil {
				if _, err := fmt.Fprintf(w, "%s: %s: valid, %s by %s, covers %s\n", r.File, printable(g.Key), g.Algorithm, signerText(g.Signer()), count(len(g.Covered), "key")); err != nil {
					return err
				}
			}
		}
	}
	verdict := "ok"
	if !r.OK {
		verdict = "a device will not take it"
	}
	_, err := fmt.Fprintf(w, "%s: %s: %s, %s, %s\n", r.File, verdict,
		count(r.Objects, "object"), count(len(r.Images), "image"), count(len(r.Findings), "finding"))
	return err
}
