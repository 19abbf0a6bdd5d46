package bitbake_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/pvkit/pvkit/layer/bitbake"
)

func TestRefs(t *testing.T) {
	for src, want := range map[string]string{
		"a ${B} ${C:x}": "B; C:x",
		"${@bb.utils.contains('A', '${B}', {'x': 1}['x'], 2, d)} ${C}": "@bb.utils.contains('A', '${B}', {'x': 1}['x'], 2, d); B; C",
		"${A_${B}}":     "B",
		"${} ${ x} ${@": "",
	} {
		var got []string
		for _, r := range bitbake.Refs(src) {
			if r.Code != "" {
				got = append(got, "@"+r.Code)
				if _, err := r.Expr(); err != nil {
					t.Errorf("%s: %v", r.Code, err)
				}
			} else {
				got = append(got, r.Name)
			}
			if !strings.HasPrefix(src[r.Span.Start:], "${") || src[r.Span.End-1] != '}' {
				t.Errorf("%s: span %v", src, r.Span)
			}
		}
		if g := strings.Join(got, "; "); g != want {
			t.Errorf("%s: %q, want %q", src, g, want)
		}
	}
}

// TestConcurrentRecipes: one configuration and one Loader serve recipes that
// are evaluated at the same time.
func TestConcurrentRecipes(t *testing.T) {
	extra := map[string]string{}
	for i := range 20 {
		extra[fmt.Sprintf("core/recipes/r%d_1.bb", i)] = fmt.Sprintf("inherit image\nA = \"%d ${@d.getVar('PN')}\"\nA:append:pn-r%d = \" x\"\n", i, i)
	}
	d, _ := loadTree(t, extra, bitbake.Options{})
	x := d.Index()
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			r, _, err := bitbake.LoadRecipe(context.Background(), d, fmt.Sprintf("/core/recipes/r%d_1.bb", i), bitbake.RecipeOptions{Index: x})
			if err != nil {
				t.Error(err)
				return
			}
			want := fmt.Sprintf("%d r%d x", i, i)
			if v, _, _ := r.Get("A"); v.Text != want {
				t.Errorf("A = %q, want %q", v.Text, want)
			}
		})
	}
	wg.Wait()
}
