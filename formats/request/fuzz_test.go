package request

import (
	"errors"
	"strings"
	"testing"
)

// FuzzJSON holds that any body is either refused as a whole or read, the same each time.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{`{"cards":[1,"2",1e3]}`, `[{"cardId":1,"userId":"u","reasonCode":3}]`, `{"cardId":5}`, `{"cards":[{"a":[{}]}]}`, `[1,null,true]`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, content string) {
		path := file(t, "body.json", content)
		if isJSON, err := beginsLikeJSON(strings.NewReader(content), int64(len(content))); err != nil || !isJSON {
			return
		}
		r, err := Open(path, Options{})
		if err != nil {
			var refused *FileError
			if !errors.As(err, &refused) {
				t.Fatal(err)
			}
			return
		}
		defer func() { _ = r.Close() }()
		first := rows(t, r)
		wantRows(t, r, first...)
	})
}
