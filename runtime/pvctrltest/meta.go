package pvctrltest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

func metaTests() []Test {
	return []Test{
		{Number: 8, Name: "device metadata: put, change, delete", run: func(ctx context.Context, p *probe) error {
			return p.metaLife(ctx, "/device-meta", "test-key", "test-value-123", "updated-value-456")
		}},
		{Number: 9, Name: "user metadata: put, change, delete", run: func(ctx context.Context, p *probe) error {
			return p.metaLife(ctx, "/user-meta", "my-key", "my-value", "new-value")
		}},
		{Number: 10, Name: "device metadata: delete a key that is not there", run: func(ctx context.Context, p *probe) error {
			r, err := p.with(ctx, "DELETE", "/device-meta/nonexistent-key-xyz", "")
			if err != nil {
				return err
			}
			return r.refused(404, "Device meta does not exist")
		}},
	}
}

// metaLife puts, changes and deletes a key. A value that it had before is put
// back in the end.
func (p *probe) metaLife(ctx context.Context, page, key, first, second string) error {
	path := page + "/" + key
	before, err := list[map[string]json.RawMessage](ctx, p, page)
	if err != nil {
		return err
	}
	old, had := before[key]
	p.later(func(ctx context.Context) error { return p.putBack(ctx, path, old, had) })
	for _, value := range []string{first, second} {
		if err := p.done(ctx, "PUT", path, value); err != nil {
			return err
		}
		now, err := list[map[string]any](ctx, p, page)
		if err != nil {
			return err
		}
		if now[key] != value {
			return fmt.Errorf("%s is %v after %q was put", key, now[key], value)
		}
	}
	if err := p.done(ctx, "DELETE", path, ""); err != nil {
		return err
	}
	after, err := list[map[string]any](ctx, p, page)
	if err != nil {
		return err
	}
	if v, there := after[key]; there {
		return fmt.Errorf("%s is still there after it was deleted: %v", key, v)
	}
	if page == "/user-meta" && len(before) > 0 {
		return note("the user metadata had %d keys before", len(before))
	}
	return nil
}

// putBack restores a key. A text is put without its quotation marks, as it was.
func (p *probe) putBack(ctx context.Context, path string, old json.RawMessage, had bool) error {
	if had {
		value := string(old)
		var text string
		if json.Unmarshal(old, &text) == nil {
			value = text
		}
		return p.done(ctx, "PUT", path, value)
	}
	r, err := p.with(ctx, "DELETE", path, "")
	if err == nil && r.status != 200 && r.status != 404 {
		err = errors.New(shown(r.body))
	}
	if err != nil {
		return fmt.Errorf("delete %s: %w", path, err)
	}
	return nil
}
