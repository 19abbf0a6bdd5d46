package pvrexport

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/pvkit/pvkit/internal/diag"
)

// VerifyOptions shapes Verify. The zero value is fine.
type VerifyOptions struct {
	Limits  Limits
	TempDir string // for the objects while they are checked; "" is the system's
	// CheckObject looks into an object that the bundle holds and whose digest
	// is right; name is the state's key. It is called for each key, in order.
	CheckObject func(name, id string, content io.ReaderAt, size int64) []diag.Diagnostic
	// CheckState looks into the state, if it could be read; has tells whether
	// the bundle holds an object.
	CheckState func(s *State, has func(id string) bool) []diag.Diagnostic
}

// Verify reads a bundle to its end and reports everything in it at which a
// device, or Import, would stumble: the archive (pvtx_tar.c), the state and
// the manifests (parser_system1.c), the structure of signatures (signature.c).
// The File of a finding's position is a key of the state, or an entry of the
// archive. The error is only for a bundle that could not be read from r, or a
// temporary file that could not be written.
func Verify(ctx context.Context, r io.Reader, opts VerifyOptions) ([]diag.Diagnostic, Info, error) {
	sp, err := newSpool(opts.TempDir)
	if err != nil {
		return nil, Info{}, err
	}
	v := &verifier{}
	imp := &importer{ctx: ctx, sink: sp, lim: opts.Limits.withDefaults(), observer: v}
	err = imp.run(r)
	if e, ok := errors.AsType[*EntryError](err); ok {
		rule := ruleArchive
		if errors.Is(e, ErrLimit) {
			rule = ruleLimit
		}
		err = v.problem(rule, e) // the rest of the archive cannot be read
	}
	if err != nil {
		return nil, Info{}, errors.Join(fmt.Errorf("read bundle: %w", err), sp.file.Close())
	}
	if imp.archive != nil && imp.archive.compression == Zstd {
		v.add(diag.Error, "compression", "", "the bundle is compressed with zstd; devices read gzip and plain tar")
	}
	if imp.state != nil {
		v.findings = append(v.findings, verifyState(imp.state, sp.content)...)
		v.checkObjects(imp.state, sp, opts)
		if opts.CheckState != nil {
			has := func(id string) bool { return sp.objects[id] != nil }
			v.findings = append(v.findings, opts.CheckState(imp.state, has)...)
		}
	}
	diag.Sort(v.findings)
	return v.findings, imp.info(sp), sp.file.Close()
}

func (v *verifier) checkObjects(s *State, sp *spool, opts VerifyOptions) {
	if opts.CheckObject == nil {
		return
	}
	for key, value := range s.All() {
		if id, ok := value.Object(); ok {
			if o := sp.objects[id]; o != nil {
				v.findings = append(v.findings, opts.CheckObject(key, id, o, o.Size())...)
			}
		}
	}
}

// content returns a small object, as manifests and configurations are.
func (s *spool) content(id string) ([]byte, bool) {
	o, ok := s.objects[id]
	if !ok || o.Size() > 1<<20 {
		return nil, false
	}
	b := make([]byte, o.Size())
	_, err := o.ReadAt(b, 0)
	return b, err == nil || errors.Is(err, io.EOF)
}

// verifier is the observer that turns problems into findings and goes on.
type verifier struct {
	findings []diag.Diagnostic
	names    map[string]bool
	order    bool // the order has been complained about
}

func (v *verifier) add(s diag.Severity, rule, file, message string) {
	v.findings = append(v.findings, diag.Diagnostic{
		Pos: diag.Position{File: file}, Severity: s, Rule: rule, Message: message,
	})
}

func (v *verifier) problem(rule string, err *EntryError) error {
	d := diag.Diagnostic{Pos: diag.Position{File: err.Entry}, Severity: diag.Error, Rule: rule}
	d.Message = fmt.Sprintf("%v (at byte %d of the archive)", err.Err, err.Offset)
	if e, ok := errors.AsType[*SyntaxError](err.Err); ok {
		d.Pos.Line, d.Pos.Col, d.Message = e.Line, e.Col, e.Message
	} else if e, ok := errors.AsType[*KeyError](err.Err); ok {
		d.Pos.Line, d.Pos.Col, d.Message = e.Line, e.Col, fmt.Sprintf("key %q %s", e.Key, e.Reason)
	}
	v.findings = append(v.findings, d)
	return nil
}

func (v *verifier) end(complete bool) {
	if !complete {
		v.add(diag.Warning, "tar-end", "", "the two blocks of zeros that end a tar archive are missing")
	}
}

// entry looks for what the device's reader of archives cannot do
// (pvtx_tar.c): it knows headers of one block with a name of up to 100 bytes
// and octal sizes, and takes every entry for "json" or "objects/<id>".
func (v *verifier) entry(m *importer, e *entry) {
	header := e.raw[max(0, len(e.raw)-blockSize):]
	extended := len(e.raw) > blockSize || e.Typeflag == tar.TypeXGlobalHeader
	switch {
	case len(header) < blockSize:
		return
	case extended && (e.Format == tar.FormatPAX || e.Typeflag == tar.TypeXGlobalHeader):
		v.add(diag.Error, "tar-pax", e.Name, "the entry has a PAX header, at which devices fail")
	case extended:
		v.add(diag.Error, "tar-extension", e.Name, "the entry has a GNU extension header, which devices misread")
	case !strings.HasPrefix(string(header[257:]), "ustar"):
		v.add(diag.Error, "tar-magic", e.Name, `the header does not say "ustar", which devices look for`)
	case header[345] != 0 && e.Format == tar.FormatUSTAR:
		v.add(diag.Error, "tar-name", e.Name, "the name is longer than 100 bytes; devices read no more")
	case header[124]&0x80 != 0 || e.Size > maxObjectSize:
		v.add(diag.Error, "tar-size", e.Name, "the size is not in octal digits; devices read only those, up to 8 GiB")
	}
	if e.Typeflag == tar.TypeDir {
		v.add(diag.Error, "tar-directory", e.Name, "a directory entry crashes the device's reader")
	}
	if strings.HasPrefix(e.Name, "./") {
		v.add(diag.Error, "tar-dot-slash", e.Name, `"./" before a name crashes the device's reader`)
	}
	v.checkOrder(m, e)
}

// checkOrder notes what is slower or larger than it need be.
func (v *verifier) checkOrder(m *importer, e *entry) {
	if v.names == nil {
		v.names = map[string]bool{}
		if e.Typeflag == tar.TypeReg && strings.TrimPrefix(e.Name, "./") != stateEntry {
			v.add(diag.Note, "tar-order", e.Name, `"json" is not the first entry: a reader cannot check objects as they come`)
		}
	} else if !v.order && e.Name < m.previous && strings.HasPrefix(e.Name, objectsDir) && strings.HasPrefix(m.previous, objectsDir) {
		v.order = true
		v.add(diag.Note, "tar-order", e.Name, "the objects are not in the order of their ids: the same state can give other bytes")
	}
	if v.names[e.Name] && e.Name != stateEntry {
		v.add(diag.Note, "tar-twice", e.Name, "the bundle holds the object more than once")
	}
	v.names[e.Name] = true
}

// VerifyState reports what a device would not accept in a state, as far as the
// state alone shows it. Verify includes it.
func VerifyState(s *State) []diag.Diagnostic {
	findings := verifyState(s, func(string) ([]byte, bool) { return nil, false })
	diag.Sort(findings)
	return findings
}

func verifyState(s *State, content func(id string) ([]byte, bool)) []diag.Diagnostic {
	c := &stateCheck{state: s, content: content, provided: map[string]bool{}}
	c.form()
	for key, v := range s.All() {
		c.key(key, v)
	}
	c.parts()
	c.signatures()
	return c.findings
}

// stateCheck collects findings about a state.
type stateCheck struct {
	state    *State
	content  func(id string) ([]byte, bool)
	findings []diag.Diagnostic
	provided map[string]bool   // names of services that this state exports
	required []requiredService // to be compared at the end
}

func (c *stateCheck) add(s diag.Severity, rule, file, format string, args ...any) {
	c.findings = append(c.findings, diag.Diagnostic{
		Pos: diag.Position{File: file}, Severity: s, Rule: rule, Message: fmt.Sprintf(format, args...),
	})
}

func (c *stateCheck) errorf(rule, file, format string, args ...any) {
	c.add(diag.Error, rule, file, format, args...)
}

func (c *stateCheck) warnf(rule, file, format string, args ...any) {
	c.add(diag.Warning, rule, file, format, args...)
}

// form checks the document itself.
func (c *stateCheck) form() {
	if !c.state.Canonical() {
		c.errorf("state-canonical", stateEntry, "the state is not canonical JSON: devices sign and merge its bytes as they stand")
	}
	if first := c.state.keys()[0]; first != SpecKey {
		c.errorf("state-spec-first", first, `the key sorts before "#spec": devices skip the first key by its position`)
	}
}

// parsed are the keys that the device handles before it comes to files. It
// compares only as many bytes as the other key has (system1_parse_objects).
var parsed = []string{"bsp/run.json", "bsp/drivers.json", "disks.json", "disks_v3.json", "groups.json", "device.json", SpecKey}

// key checks a member for what does not depend on others.
func (c *stateCheck) key(key string, v Value) {
	if key == SpecKey {
		return
	}
	if strings.ContainsAny(key, `"\`) {
		c.errorf("state-key-escape", key, "devices do not undo the escapes of JSON: the file gets another name")
	}
	for _, known := range parsed {
		if len(key) < len(known) && strings.HasPrefix(known, key) {
			c.errorf("state-key-lost", key, "devices take the key for %q and drop it", known)
			break
		}
	}
	_, object := v.Object()
	switch kind := kindOf(v.json); {
	case object:
	case !Inlined(key):
		c.errorf("state-value", key, "the value is %s; a file that is not .json needs the id of an object", kind)
	case strings.HasPrefix(v.json, `"{`):
		c.errorf("state-value", key, "devices parse the string as JSON again and crash")
	case kind == kindNull:
		c.warnf("state-value", key, "the value is null; pvr drops such members when it commits")
	case kind == kindNumber || kind == kindBool:
		c.warnf("state-value", key, "the file holds only %s; devices put it in quotes, and no signature over it holds", kind)
	}
	dir, file, _ := cutLast(key)
	if file == "run.json" && (strings.Contains(dir, "/") || dir == configDir || dir == sigsDir) {
		c.errorf("run-place", key, "devices take every run.json for a container, also in this directory")
	}
}

// cutLast splits at the last slash.
func cutLast(key string) (dir, file string, ok bool) {
	i := strings.LastIndexByte(key, '/')
	if i < 0 {
		return "", key, false
	}
	return key[:i], key[i+1:], true
}

// parts checks each top-level directory.
func (c *stateCheck) parts() {
	var dirs []string
	for key := range c.state.members {
		if dir, _, ok := strings.Cut(key, "/"); ok && dir != configDir && dir != sigsDir {
			dirs = append(dirs, dir)
		}
	}
	slices.Sort(dirs)
	for _, dir := range slices.Compact(dirs) {
		c.services(dir)
		if dir == "bsp" {
			continue // belongs to no container; the appengine skips it
		}
		run, ok := c.state.members[dir+"/run.json"]
		if !ok {
			c.warnf("run-missing", dir, "the directory has no run.json: devices keep its files and run nothing")
			continue
		}
		c.run(dir, run)
	}
	for _, r := range c.required {
		if !c.provided[r.name] {
			c.add(diag.Note, "service-provider", r.file, "the required service %q has no provider here; without one on the device the whole revision is refused", r.name)
		}
	}
}
