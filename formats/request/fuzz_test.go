package request

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// FuzzJSON holds that any body is either refused as a whole or read, the same each time, and that no row comes out of
// less than a token.
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
		if tokens := tokensOf(content); len(first) > tokens {
			t.Errorf("%d rows of %d tokens", len(first), tokens)
		}
		wantRows(t, r, first...)
	})
}

// tokensOf is how many JSON tokens a text can have at most: no two of them begin at one byte.
func tokensOf(content string) int {
	tokens := 0
	decoder := json.NewDecoder(strings.NewReader(content))
	for {
		if _, err := decoder.Token(); err != nil {
			return max(tokens, strings.Count(content, ",")+1)
		}
		tokens++
	}
}
