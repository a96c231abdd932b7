package batch

import (
	"strings"
	"testing"
)

func TestALoginIsThatOfTheUserIDAndNothingElse(t *testing.T) {
	const passwd = "root:x:0:0:root:/root:/bin/bash\nanna:x:1000:1000:Anna,,,:/home/anna:/bin/sh\n1001:x:7:7::/:/bin/sh\nbroken:x:9\nben:x:1000:1000:a second name:/:/bin/sh\n"
	for uid, want := range map[int]string{0: "root", 1000: "anna", 7: "1001", 1001: "", 9: "", 12: ""} {
		if got := loginIn(strings.NewReader(passwd), uid); got != want {
			t.Errorf("user id %d: %q, want %q", uid, got, want)
		}
	}
	t.Setenv("USER", "somebody-else")
	if login, err := ownLogin(); err == nil && login == "somebody-else" {
		t.Error("$USER was believed")
	}
}
