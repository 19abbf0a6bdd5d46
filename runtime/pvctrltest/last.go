package pvctrltest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"

	"github.com/pvkit/pvkit/runtime/pvcurl"
)

// lastTests are in the order in which they run.
func lastTests() []Test {
	return []Test{
		{Number: 27, Name: "commands: collect garbage", run: testGC},
		{Number: 31, Name: "commands: enable and disable ssh", run: func(ctx context.Context, p *probe) error {
			if err := p.command(ctx, "ENABLE_SSH", ""); err != nil {
				return err
			}
			return p.command(ctx, "DISABLE_SSH", "")
		}},
		{Number: 29, Name: "steps: an archive is not a state", run: testArchive},
		{Number: 30, Name: "steps: put a state and a commit message", run: testPutStep},
		{Number: 28, Name: "containers: stop, start, restart", run: testControl},
		{Number: 26, Name: "commands: power off", run: testPoweroff, destroy: true},
	}
}

// testGC puts an object that nothing needs and waits until it is collected.
func testGC(ctx context.Context, p *probe) error {
	garbage := []byte("nothing needs this object\n")
	sha := digest(garbage)
	r, err := p.put(ctx, sha, garbage)
	if err != nil {
		return err
	}
	if err := r.is(200, ""); err != nil {
		return err
	}
	if err := p.command(ctx, "RUN_GC", ""); errors.Is(err, errBusy) {
		p.objects++
		return note("503 with Retry-After, as the plan allows: %v", err)
	} else if err != nil {
		return err
	}
	err = p.eventually(ctx, func() error {
		sizes, err := p.objectSizes(ctx)
		if err == nil && sizes[sha] != "" {
			err = fmt.Errorf("the object %s, which no revision needs, is still there", sha)
		}
		return err
	})
	if err == nil {
		p.objects = 0
	}
	return err
}

// testArchive sends a compressed archive, as the plan does, where a state
// belongs.
func testArchive(ctx context.Context, p *probe) error {
	state, err := p.state(ctx, "current")
	if err != nil {
		return err
	}
	body, err := archive("state.json", state)
	if err != nil {
		return err
	}
	const rev = "locals/test-rev"
	r, err := p.ask(ctx, pvcurl.Request{Method: "PUT", Path: "/steps/" + rev, Body: bytes.NewReader(body), Size: int64(len(body))})
	if err != nil {
		return err
	}
	if r.status == 200 {
		p.revisions = append(p.revisions, rev)
	}
	if err := r.refused(422, "Parser: State JSON has bad format"); err != nil {
		return err
	}
	all, err := entries(ctx, p, "/steps", "name string")
	if err != nil {
		return err
	}
	if find(all, "name", rev) != nil {
		return fmt.Errorf("revision %s is there, though its state was refused", rev)
	}
	return expected("422: the plan sends an archive and leaves open whether that is valid")
}

func archive(name string, content []byte) ([]byte, error) {
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	tw := tar.NewWriter(zw)
	err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))})
	if err == nil {
		_, err = tw.Write(content)
	}
	return b.Bytes(), errors.Join(err, tw.Close(), zw.Close())
}

func testPutStep(ctx context.Context, p *probe) error {
	const rev, message = "locals/test-put-rev", "test put"
	state, err := p.state(ctx, "current")
	if err != nil {
		return err
	}
	r, err := p.ask(ctx, pvcurl.Request{Method: "PUT", Path: "/steps/" + rev, Body: bytes.NewReader(state), Size: int64(len(state))})
	if err != nil {
		return err
	}
	if err := r.is(200, ""); err != nil {
		return err
	}
	p.revisions = append(p.revisions, rev)
	if err := p.done(ctx, "PUT", "/steps/"+rev+"/commitmsg", message); err != nil {
		return err
	}
	all, err := entries(ctx, p, "/steps", "name string", "commitmsg string")
	if err != nil {
		return err
	}
	step := find(all, "name", rev)
	if step == nil || step["commitmsg"] != message {
		return fmt.Errorf("revision %s is listed as %v and should have the commit message %q", rev, step, message)
	}
	got, err := p.state(ctx, rev)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, state) {
		return fmt.Errorf("the state of %s is not what was put", rev)
	}
	return nil
}

// testPoweroff ends the server, in order: it answers first.
func testPoweroff(ctx context.Context, p *probe) error {
	if !p.AllowPoweroff {
		return skip("it ends the server; allow it with --allow-poweroff")
	}
	if err := p.command(ctx, "POWEROFF_DEVICE", "test shutdown"); err != nil {
		return err
	}
	return p.eventually(ctx, func() error {
		if _, err := p.get(ctx, "/containers"); err == nil {
			return errors.New("the server still answers")
		}
		return nil
	})
}
