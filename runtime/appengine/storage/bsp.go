package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pvkit/pvkit/pvrexport"
)

// bootLinks gives the files that a bootloader reads the names under which it
// looks for them: links in .pv to files of the board support package
// (pantavisor's storage.c, pv_storage_meta_link_boot). A state without one, as
// an appengine's usually is, has none.
func bootLinks(state *pvrexport.State, dir string) error {
	v, ok := state.Get("bsp/run.json")
	if !ok {
		return nil
	}
	var bsp struct {
		Initrd, Linux, Kernel, FDT, Fit, Pantavisor string
		Addons                                      []string
	}
	if err := v.Unmarshal(&bsp); err != nil {
		return fmt.Errorf("bsp/run.json: %w", err)
	}
	links := map[string]string{
		"pv-initrd.img":  bsp.Initrd,
		"pv-kernel.img":  bsp.Linux,
		"pv-fdt.dtb":     bsp.FDT,
		"pantavisor.fit": bsp.Fit,
	}
	if bsp.Initrd == "" {
		links["pv-initrd.img"] = bsp.Pantavisor
	}
	if bsp.Linux == "" {
		links["pv-kernel.img"] = bsp.Kernel
	}
	for i, name := range bsp.Addons {
		links[fmt.Sprintf("pv-initrd.img.%d", i)] = name
	}
	for link, name := range links {
		file, ok := state.Get("bsp/" + name)
		if name == "" || !ok || strings.HasSuffix(name, ".bind") {
			continue
		}
		if _, ok := file.Object(); !ok {
			continue
		}
		to := filepath.Join(dir, ".pv", link)
		if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.Link(filepath.Join(dir, "bsp", filepath.FromSlash(name)), to); err != nil {
			return fmt.Errorf("bsp/%s: %w", name, full(err))
		}
	}
	return nil
}
