package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/pvkit/pvkit/internal/atomicfile"
	"github.com/pvkit/pvkit/pvrexport"
	"github.com/pvkit/pvkit/pvrexport/pvs"
)

// signCommandFlags are the flags of pvkit sign.
type signCommandFlags struct {
	signFlags
	parts            []string
	raw              string
	include, exclude []string
	out              string
	json, quiet      bool
}

func signCommand(env Env) *cobra.Command {
	var f signCommandFlags
	c := &cobra.Command{
		Use:   "sign --key KEY FILE...",
		Short: "Sign the parts of bundles",
		Long: `Sign the parts of bundles, as "pvr sig add" does: every part, or those named with
--part. The signature of a part covers its files and its configuration overlay,
and stands in the state as _sigs/PART.json. Each FILE is replaced as a whole,
or -o names another one; "-" is standard input and output.

With --raw the signature has a name and patterns of your choice, for files of
no part: "dir/**", exact keys, and * and ? between two slashes. Other patterns
mean one thing to pvr and another to devices, and are refused.

Devices check RSA keys only. The same input gives the same bytes, which are
those of pvr; SOURCE_DATE_EPOCH is the time of the entries of the bundle.`,
		Example: `  pvkit sign --key dev.key --cert dev-chain.pem out/*.pvrexport.tgz
  pvkit sign -k dev.key -x dev-chain.pem --part web --no-config -o signed.tgz web.pvrexport.tgz
  pvkit sign -k dev.key -x dev-chain.pem --raw _pvskel --include '#spec' --include device.json device.pvrexport.tgz
  pvkit verify --cacerts cacerts.pem --mode strict signed.tgz`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if f.key == "" {
				f.key = env.Getenv("PVR_SIG_KEY")
			}
			if f.cert == "" {
				f.cert = env.Getenv("PVR_X5C_PATH")
			}
			if f.cert == "no" { // pvr's word
				f.cert = ""
			}
			return signFiles(c.Context(), env, f, args)
		},
	}
	f.addTo(c, "")
	fl := c.Flags()
	fl.StringArrayVarP(&f.parts, "part", "p", nil, "part to sign; may be repeated (default all)")
	fl.StringVar(&f.raw, "raw", "", "name of a signature with the patterns of --include and --exclude")
	fl.StringArrayVar(&f.include, "include", nil, "with --raw: pattern of keys to cover; may be repeated")
	fl.StringArrayVar(&f.exclude, "exclude", nil, "with --raw: pattern of keys to leave out; may be repeated")
	fl.StringVarP(&f.out, "output", "o", "", "file for the signed bundle, - for standard output (default FILE itself)")
	fl.BoolVar(&f.json, "json", false, "print a JSON object for each file")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "print errors and warnings only")
	return c
}

func (f *signCommandFlags) check(args []string) error {
	switch {
	case f.key == "":
		return usagef("sign: --key is missing: name the private key")
	case f.out != "" && len(args) > 1:
		return usagef("sign: -o is for one FILE")
	case f.out == "" && slices.ContainsFunc(args, isStdin):
		return usagef("sign: standard input has no name: give -o")
	case f.out == "-" && f.json:
		return usagef("sign: --json and -o - both want standard output")
	case f.raw != "" && (len(f.parts) > 0 || f.noConfig):
		return usagef("sign: --raw excludes --part and --no-config")
	case f.raw != "" && len(f.include) == 0:
		return usagef("sign: --raw needs --include")
	case f.raw == "" && len(f.include)+len(f.exclude) > 0:
		return usagef("sign: --include and --exclude need --raw")
	}
	return nil
}

func signFiles(ctx context.Context, env Env, f signCommandFlags, args []string) error {
	if err := f.check(args); err != nil {
		return err
	}
	s, err := f.load(env)
	if err != nil {
		return err
	}
	if f.raw != "" {
		s.opts.Select = &pvs.Selection{Include: f.include, Exclude: f.exclude}
		f.parts = []string{f.raw}
	}
	for _, name := range args {
		report, err := signFile(ctx, env, f, s, name)
		if err != nil {
			return fmt.Errorf("sign %s: %w", name, err)
		}
		if f.quiet || f.out == "-" {
			continue
		}
		if err := report.write(env.Stdout, f.json); err != nil {
			return err
		}
	}
	return nil
}

// signReport is what `pvkit sign` says of a file.
type signReport struct {
	File  string       `json:"file"` // the signed one
	Parts []signedPart `json:"parts"`
}

type signedPart struct {
	Part    string   `json:"part"`
	Key     string   `json:"key"`
	Include []string `json:"include"`
	Exclude []string `json:"exclude"`
	Value   any      `json:"signature"`
}

func (r signReport) write(w io.Writer, asJSON bool) error {
	if asJSON {
		return printJSON(w, r)
	}
	for _, p := range r.Parts {
		if _, err := fmt.Fprintf(w, "%s: signed %s: %s\n", r.File, p.Part, p.Key); err != nil {
			return err
		}
	}
	return nil
}

func signFile(ctx context.Context, env Env, f signCommandFlags, s *signer, name string) (report signReport, err error) {
	b, err := openBundle(ctx, env, name)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	parts := f.parts
	if len(parts) == 0 {
		if parts = b.State.Parts(); len(parts) == 0 {
			return report, errors.New("the bundle has no parts: use --raw with --include for its files")
		}
	}
	for _, part := range parts {
		if err := s.sign(b.State, part); err != nil {
			return report, err
		}
	}
	report.File = name
	if f.out != "" {
		report.File = f.out
	}
	for _, g := range b.State.Signatures() {
		if part := slices.IndexFunc(parts, func(p string) bool { return pvs.Key(p) == g.Key }); part >= 0 {
			v, _ := b.State.Get(g.Key)
			p := signedPart{Part: parts[part], Key: g.Key, Include: g.Include, Exclude: g.Exclude}
			if err := v.Unmarshal(&p.Value); err != nil {
				return report, err
			}
			report.Parts = append(report.Parts, p)
		}
	}
	return report, writeBundle(ctx, env, b, report.File)
}

// writeBundle writes a bundle that was changed, whole or not at all.
func writeBundle(ctx context.Context, env Env, b *pvrexport.Bundle, name string) error {
	opts, err := builderOptions(env)
	if err != nil {
		return err
	}
	how := pvrexport.WriteOptions{ModTime: opts.Epoch, Compression: b.Info.Compression}
	stream, err := outputStream(env, name)
	if err != nil {
		return err
	}
	if stream != nil {
		return errors.Join(pvrexport.Write(ctx, stream, b.State, b, how), stream.Close())
	}
	mode := fs.FileMode(0o644)
	if st, err := os.Stat(name); err == nil {
		mode = st.Mode().Perm()
	}
	out, err := atomicfile.Create(name, mode)
	if err != nil {
		return err
	}
	defer out.Abort()
	if err := pvrexport.Write(ctx, out, b.State, b, how); err != nil {
		return err
	}
	return out.Commit()
}
