package bureau

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// GenerateHostKey makes an Ed25519 host key for a server in the new file path,
// OpenSSH format, mode 0600.
func GenerateHostKey(path string) (ssh.Signer, error) { return generateSSHKey(path, "host key") }

// GenerateClientKey makes an Ed25519 key to log in with in the new file path,
// OpenSSH format, mode 0600, and its public line for the bureau in path.pub.
func GenerateClientKey(path string) (ssh.Signer, error) {
	signer, err := generateSSHKey(path, "reemboss")
	if err != nil {
		return nil, err
	}
	line := ssh.MarshalAuthorizedKey(signer.PublicKey())
	return signer, writeNew(path+".pub", line, 0o644)
}

func generateSSHKey(path, comment string) (ssh.Signer, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make an SSH key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(private, comment)
	if err != nil {
		return nil, fmt.Errorf("make an SSH key: %w", err)
	}
	if err := writeNew(path, pem.EncodeToMemory(block), 0o600); err != nil {
		return nil, err
	}
	return ssh.NewSignerFromKey(private)
}

// writeNew never replaces a file: a key that is lost that way is lost for good.
func writeNew(path string, content []byte, mode os.FileMode) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("make a key file: %w", err)
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// ReadSSHKey reads a private SSH key of mode 0600 or stricter.
func ReadSSHKey(path string) (ssh.Signer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("ssh key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("ssh key %s has mode %#o and others may read it; chmod 600 it, and replace the key if they may have",
			path, info.Mode().Perm())
	}
	content, err := readRegular(path)
	if err != nil {
		return nil, fmt.Errorf("ssh key: %w", err)
	}
	signer, err := ssh.ParsePrivateKey(content)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		return nil, fmt.Errorf("ssh key %s is locked with a passphrase; add it to an SSH agent and leave key_file empty", path)
	}
	if err != nil {
		return nil, fmt.Errorf("ssh key %s: %w", path, err)
	}
	return signer, nil
}

// agentKeys are the keys of the agent at socket; stop ends the connection,
// after which they no longer sign.
func agentKeys(socket string) (signers []ssh.Signer, stop func(), err error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return nil, nil, err
	}
	stop = func() { _ = conn.Close() }
	if signers, err = agent.NewClient(conn).Signers(); err != nil {
		stop()
		return nil, nil, err
	}
	return signers, stop, nil
}
