package bureau

import (
	"io"
	"net"
	"testing"

	"github.com/pkg/sftp"
)

// flagged remembers how a file was asked for.
type flagged struct {
	sftp.FileWriter
	flags sftp.FileOpenFlags
}

func (f *flagged) Filewrite(r *sftp.Request) (io.WriterAt, error) {
	f.flags = r.Pflags()
	return f.FileWriter.Filewrite(r)
}

// Between our look and the create somebody else may have taken the name:
// only the server can tell, and only when it is asked for a new file.
func TestTemporaryFileIsAskedForAsANewOne(t *testing.T) {
	far, near := net.Pipe()
	handlers := sftp.InMemHandler()
	put := &flagged{FileWriter: handlers.FilePut}
	handlers.FilePut = put
	server := sftp.NewRequestServer(far, handlers)
	go func() { _ = server.Serve() }()
	client, err := sftp.NewClientPipe(near, near)
	if err != nil {
		t.Fatal(err)
	}
	f := outboxFile(t, fileName, 100_000)
	r := &remote{sftp: client, settings: Settings{Concurrency: 4}.withDefaults()}
	if err := r.write("x.part", &f); err != nil {
		t.Fatal(err)
	}
	if !put.flags.Excl || !put.flags.Creat || put.flags.Trunc || put.flags.Append {
		t.Errorf("flags %+v", put.flags)
	}
	if seen, err := r.look("x.part", &f, true); seen != verified || err != nil {
		t.Errorf("seen %d, %v", seen, err)
	}
	_ = client.Close()
	_ = server.Close()
}
