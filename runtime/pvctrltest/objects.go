package pvctrltest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pvkit/pvkit/runtime/pvcurl"
)

const largeSize = 2 << 20

func objectTests() []Test {
	return []Test{
		{Number: 11, Name: "objects: list", run: testObjects},
		{Number: 12, Name: "objects: put a small one", run: func(ctx context.Context, p *probe) error {
			return p.putAndFind(ctx, []byte("hello pvctrl test\n"))
		}},
		{Number: 13, Name: "objects: put a large one", run: func(ctx context.Context, p *probe) error {
			return p.putAndFind(ctx, p.largeObject())
		}},
		{Number: 14, Name: "objects: get it back", run: testGetObject},
		{Number: 15, Name: "objects: put under a wrong name", run: testWrongName},
		{Number: 16, Name: "objects: put the same twice", run: func(ctx context.Context, p *probe) error {
			same := []byte("duplicate test\n")
			if err := p.putAndFind(ctx, same); err != nil {
				return err
			}
			return p.putAndFind(ctx, same)
		}},
	}
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// largeObject is random, so that no server has it already.
func (p *probe) largeObject() []byte {
	if p.large == nil {
		p.large = make([]byte, largeSize)
		rand.Read(p.large) // never fails
	}
	return p.large
}

// objectSizes lists what is stored.
func (p *probe) objectSizes(ctx context.Context) (map[string]string, error) {
	all, err := entries(ctx, p, "/objects", "sha256 string", "size string")
	if err != nil {
		return nil, err
	}
	sizes := map[string]string{}
	for _, e := range all {
		sha, size := e["sha256"].(string), e["size"].(string)
		if len(sha) != 64 || strings.Trim(sha, "0123456789abcdef") != "" {
			return nil, fmt.Errorf("the object name %q is not a sha256", sha)
		}
		if _, err := strconv.ParseUint(size, 10, 64); err != nil {
			return nil, fmt.Errorf("object %s: its size %q is not a number of bytes", sha, size)
		}
		sizes[sha] = size
	}
	return sizes, nil
}

func testObjects(ctx context.Context, p *probe) error {
	sizes, err := p.objectSizes(ctx)
	if err == nil && len(sizes) == 0 {
		return errors.New("the list is empty, but the containers need objects")
	}
	return err
}

func (p *probe) put(ctx context.Context, sha string, b []byte) (*reply, error) {
	return p.ask(ctx, pvcurl.Request{Method: "PUT", Path: "/objects/" + sha, Header: []string{"Content-Type: application/octet-stream"},
		Body: bytes.NewReader(b), Size: int64(len(b))})
}

// putAndFind puts an object and looks for it in the list.
func (p *probe) putAndFind(ctx context.Context, b []byte) error {
	sha := digest(b)
	before, err := p.objectSizes(ctx)
	if err != nil {
		return err
	}
	r, err := p.put(ctx, sha, b)
	if err != nil {
		return err
	}
	if err := r.is(200, ""); err != nil {
		return err
	}
	if before[sha] == "" {
		p.objects++
	}
	sizes, err := p.objectSizes(ctx)
	if err != nil {
		return err
	}
	if want := strconv.Itoa(len(b)); sizes[sha] != want {
		return fmt.Errorf("object %s is listed with size %q and should have %s", sha, sizes[sha], want)
	}
	return nil
}

func testGetObject(ctx context.Context, p *probe) error {
	want := p.largeObject()
	sizes, err := p.objectSizes(ctx)
	if err != nil {
		return err
	}
	if sizes[digest(want)] == "" { // test 13 did not run
		if err := p.putAndFind(ctx, want); err != nil {
			return err
		}
	}
	r, err := p.get(ctx, "/objects/"+digest(want))
	if err != nil {
		return err
	}
	if err := r.is(200, "application/octet-stream"); err != nil {
		return err
	}
	if got := digest(r.body); got != digest(want) {
		return fmt.Errorf("%d bytes with the sha256 %s came back, %d with %s were put", len(r.body), got, len(want), digest(want))
	}
	return nil
}

func testWrongName(ctx context.Context, p *probe) error {
	wrong := strings.Repeat("a", 64)
	r, err := p.put(ctx, wrong, []byte("checksum test\n"))
	if err != nil {
		return err
	}
	if err := r.refused(422, "Object has bad checksum"); err != nil {
		return err
	}
	sizes, err := p.objectSizes(ctx)
	if err != nil {
		return err
	}
	if sizes[wrong] != "" {
		return errors.New("the object is stored all the same")
	}
	return nil
}
