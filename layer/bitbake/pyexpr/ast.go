package pyexpr

type node interface{}

type (
	constant  struct{ v Value }
	opaqueLit struct{ what string } // an f-string, bytes, a complex number
	name      struct{ id string }
	attribute struct {
		x    node
		attr string
	}
	subscript struct{ x, index node }
	slice     struct{ low, high, step node }
	call      struct {
		fn     node
		args   []node
		kwargs []keyword
	}
	keyword struct {
		name string // "" for **x
		v    node
	}
	starred struct{ x node }
	unary   struct {
		op string
		x  node
	}
	binary struct {
		op   string
		x, y node
	}
	boolean struct {
		or bool
		xs []node
	}
	compare struct {
		x   node
		ops []string
		ys  []node
	}
	conditional struct{ cond, yes, no node }
	sequence    struct {
		kind  Kind // List, Tuple or Set
		items []node
	}
	mapping struct{ keys, values []node } // a nil key is **x
	comp    struct {
		kind       Kind // List, Set, Dict or Iterator (a generator)
		elem, val  node // val for a dict
		generators []generator
	}
	generator struct {
		target node
		iter   node
		conds  []node
	}
	lambda struct{} // parsed, not modelled
	walrus struct{}
)

// children calls f for the direct parts of n.
func children(n node, f func(node)) {
	each := func(ns ...node) {
		for _, c := range ns {
			if c != nil {
				f(c)
			}
		}
	}
	switch n := n.(type) {
	case *attribute:
		each(n.x)
	case *subscript:
		each(n.x, n.index)
	case *slice:
		each(n.low, n.high, n.step)
	case *call:
		each(n.fn)
		each(n.args...)
		for _, k := range n.kwargs {
			each(k.v)
		}
	case *starred:
		each(n.x)
	case *unary:
		each(n.x)
	case *binary:
		each(n.x, n.y)
	case *boolean:
		each(n.xs...)
	case *compare:
		each(n.x)
		each(n.ys...)
	case *conditional:
		each(n.cond, n.yes, n.no)
	case *sequence:
		each(n.items...)
	case *mapping:
		each(n.keys...)
		each(n.values...)
	case *comp:
		each(n.elem, n.val)
		for _, g := range n.generators {
			each(g.target, g.iter)
			each(g.conds...)
		}
	}
}
