package kas

// merge lays upd over dest as kas does (includehandler.py,
// _internal_dict_merge): mappings merge key by key and keep the order in
// which keys were first seen; anything else, null too, replaces what was
// there. Both arguments stay as they are.
func merge(dest, upd *Value) *Value {
	out := dest.clone()
	out.merged = true
	for _, e := range upd.entries {
		old := dest.findEntry(e.Key)
		switch {
		case old == nil:
			out.put(e)
		case old.Value.Kind == Map && e.Value.Kind == Map:
			out.put(&Entry{Key: old.Key, Value: merge(old.Value, e.Value), Over: old.Over})
		default:
			over := make([]*Value, 0, len(old.Over)+1)
			over = append(append(over, old.Over...), old.Value)
			out.put(&Entry{Key: old.Key, Value: e.Value, Over: over})
		}
	}
	return out
}

// findEntry returns the entry of a key of any kind, nil when there is none.
func (v *Value) findEntry(key *Value) *Entry {
	if v == nil {
		return nil
	}
	if i := v.find(key.identity()); i >= 0 {
		return v.entries[i]
	}
	return nil
}
