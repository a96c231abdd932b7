package batch

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// accounts is where this machine keeps the names of its user ids.
const accounts = "/etc/passwd"

// ownLogin is the login of the user that this process runs as. Neither $USER
// nor package os/user is asked: the one is whatever somebody sets, and the
// other falls back to it.
func ownLogin() (string, error) {
	login := loginOf(os.Getuid())
	if login == "" {
		return "", fmt.Errorf("user id %d has no login in %s", os.Getuid(), accounts)
	}
	return login, nil
}

// ownerOf is the login of a file's owner, "" where it is not known.
func ownerOf(path string) string {
	info, err := os.Lstat(path)
	if err != nil {
		return ""
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return loginOf(int(stat.Uid))
}

func loginOf(uid int) string {
	f, err := os.Open(accounts)
	if err != nil {
		return ""
	}
	defer f.Close()
	return loginIn(f, uid)
}

// loginIn finds the first line of a passwd file with that user id: name:password:uid:…
func loginIn(r io.Reader, uid int) string {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), ":")
		if len(fields) >= 7 && fields[2] == strconv.Itoa(uid) {
			return fields[0]
		}
	}
	return ""
}
