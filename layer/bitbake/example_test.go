package bitbake_test

import (
	"context"
	"fmt"
	"testing/fstest"

	"github.com/pvkit/pvkit/layer/bitbake"
)

// A distro that says += loses the defaults that a class would have given.
func Example() {
	fsys := fstest.MapFS{
		"build/conf/bblayers.conf":  {Data: []byte("BBPATH = \"${TOPDIR}\"\nBBLAYERS = \"/pv\"\n")},
		"build/conf/local.conf":     {Data: []byte("FEATURES += \"appengine\"\n")},
		"pv/conf/layer.conf":        {Data: []byte("BBPATH .= \":${LAYERDIR}\"\nINHERIT += \"pvbase\"\n")},
		"pv/classes/pvbase.bbclass": {Data: []byte("FEATURES ??= \"xconnect pvcontrol\"\n")},
	}
	d, findings, err := bitbake.LoadConfig(context.Background(), bitbake.Options{Loader: bitbake.NewLoader(fsys), TopDir: "/build"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range findings {
		if f.Rule == bitbake.RuleMissing {
			fmt.Println("missing:", f.Message)
		}
	}
	fmt.Print(d.Explain("FEATURES"))
	// Output:
	// missing: conf/bitbake.conf is not on BBPATH: oe-core is missing, and so are its defaults, machines and classes
	// missing: the class base does not exist
	// FEATURES = " appengine"
	//   /build/conf/local.conf:1:1: FEATURES += "appengine"
	//     applied
	//   /pv/classes/pvbase.bbclass:1:1: FEATURES ??= "xconnect pvcontrol"
	//     lost: FEATURES += "appengine" at /build/conf/local.conf:1:1 made a value without looking at this default
}
