package pvrexport_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/pvkit/pvkit/internal/testreq"
	"github.com/pvkit/pvkit/pvrexport"
)

// tarOf makes a plain archive of names and contents.
func tarOf(t testing.TB, files ...string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for i := 0; i < len(files); i += 2 {
		if err := w.WriteHeader(&tar.Header{Name: files[i], Size: int64(len(files[i+1])), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(files[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestTake(t *testing.T) {
	id := pvrexport.ObjectID([]byte("content"))
	src := "{" + spec + `,"app/file":"` + id + `","app/other":"` + idA + `"}`
	bundle := tarOf(t, "json", src, "objects/"+id, "content")
	for _, c := range []struct {
		name    string
		in      []byte
		missing []string
		objects int
	}{
		{"a bundle that lacks an object", bundle, []string{idA}, 1},
		{"a state", []byte(src), []string{id, idA}, 0},
		{"a state after blanks", []byte("\n\t " + src), []string{id, idA}, 0},
	} {
		var m pvrexport.Memory
		got, err := pvrexport.Take(t.Context(), bytes.NewReader(c.in), &m, pvrexport.Limits{})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		slices.Sort(c.missing)
		slices.Sort(got.Missing)
		if got.State.Len() != 3 || !slices.Equal(got.Missing, c.missing) || m.Len() != c.objects {
			t.Errorf("%s: %v, missing %v, %d objects", c.name, keys(got.State), got.Missing, m.Len())
		}
	}

	for _, c := range []struct {
		name string
		in   string
		want error
	}{
		{"nothing", "", pvrexport.ErrNoState},
		{"no state", string(tarOf(t, "objects/"+id, "content")), pvrexport.ErrNoState},
		{"an object that nobody names", string(tarOf(t, "json", "{"+spec+"}", "objects/"+id, "content")), pvrexport.ErrUnknownObject},
		{"another entry", string(tarOf(t, "json", src, "../x", "content")), pvrexport.ErrEntryName},
		{"another spec", `{"#spec":"x"}`, pvrexport.ErrSpec},
	} {
		_, err := pvrexport.Take(t.Context(), strings.NewReader(c.in), pvrexport.Discard, pvrexport.Limits{})
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	_, err := pvrexport.Take(t.Context(), bytes.NewReader(tarOf(t, "json", src, "objects/"+id, "Content")), pvrexport.Discard, pvrexport.Limits{})
	if _, ok := errors.AsType[*pvrexport.DigestError](err); !ok {
		t.Errorf("another content: %v", err)
	}
}

func TestTakeBzip2(t *testing.T) {
	cmd := exec.Command(testreq.Tool(t, "bzip2"), "-c")
	cmd.Stdin = bytes.NewReader(tarOf(t, "json", "{"+spec+`,"a.json":1}`))
	packed, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	got, err := pvrexport.Take(t.Context(), bytes.NewReader(packed), pvrexport.Discard, pvrexport.Limits{})
	if err != nil || got.State.Len() != 2 {
		t.Errorf("%v", err)
	}
	if _, err := pvrexport.Take(t.Context(), bytes.NewReader(packed[:len(packed)/2]), pvrexport.Discard, pvrexport.Limits{}); err == nil {
		t.Error("half a bundle was taken")
	}
}

// FuzzTake feeds what `pvkit tx add` reads.
func FuzzTake(f *testing.F) {
	id := pvrexport.ObjectID([]byte("content"))
	f.Add(tarOf(f, "json", "{"+spec+`,"app/file":"`+id+`"}`, "objects/"+id, "content"))
	f.Add([]byte("{" + spec + `,"app/file":"` + id + `"}`))
	f.Add([]byte("BZh91AY&SY"))
	f.Add([]byte{0x1f, 0x8b, 8, 0})
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd})
	f.Fuzz(func(t *testing.T, in []byte) {
		var m pvrexport.Memory
		got, err := pvrexport.Take(t.Context(), bytes.NewReader(in), &m, pvrexport.Limits{TotalSize: 1 << 20})
		if err != nil {
			return
		}
		if n := len(got.State.Objects()); m.Len()+len(got.Missing) != n {
			t.Errorf("%d objects, %d missing, the state names %d", m.Len(), len(got.Missing), n)
		}
	})
}
