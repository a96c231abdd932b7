package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"reemboss/batch/config"
	"reemboss/batch/durable"
	"reemboss/batch/ledger"
)

// Names of the files in a run's folder (a public promise).
const (
	pageName        = "reconciliation.html"
	bookName        = "reconciliation.xlsx"
	jsonName        = "reconciliation.json"
	refusalsName    = "refusals.csv"
	outstandingName = "outstanding.csv"
	underWayName    = "underway.csv"
	returnsName     = "returns.csv"
	eventsName      = "events.ndjson"
	manifestName    = "manifest.json"
	signatureName   = "manifest.json.asc"
)

// IsReport says whether a file of this name in a run's folder is one of ours: a
// report, or the masked twin of a bureau file.
func IsReport(name string) bool {
	return strings.Contains(name, ".masked.") || slices.Contains([]string{
		pageName, bookName, jsonName, refusalsName, outstandingName, underWayName, returnsName, eventsName, manifestName, signatureName,
	}, name)
}

// Artifact is a file of the run that lies elsewhere: a result, a request file
// at its last place.
type Artifact struct {
	Path string // relative to the workspace
	Kind string // "" finds it out from the name: result or request_file
	Rows int64
}

func (a Artifact) kind() string {
	switch {
	case a.Kind != "":
		return a.Kind
	case strings.HasSuffix(a.Path, ".result.csv"), strings.HasSuffix(a.Path, ".result.xlsx"):
		return "result"
	}
	return "request_file"
}

// Manifest names every file of a run. Its detached signature lies beside it.
type Manifest struct {
	RunID string         `json:"run_id"`
	Files []ManifestFile `json:"files"` // in the order of their paths
}

// ManifestFile is one file. Of a bureau file size and SHA-256 are those of the
// sealed bytes as the ledger froze them. Count is rows, records or lines, by
// Kind. Gone says that a file that was made is not there any more (its
// retention ended); its size and hash are then not known.
type ManifestFile struct {
	Path   string `json:"path"` // relative to the workspace, with slashes
	Kind   string `json:"kind"` // report, result, request_file, bureau_file, card_system_file, pin_file, masked_twin
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256,omitempty"`
	Count  int64  `json:"count"`
	Gone   bool   `json:"gone,omitempty"`
	// Unreadable says that we have no right to read it, so that its bytes are not vouched for.
	Unreadable bool `json:"unreadable,omitempty"`
}

// writeManifest writes signature and manifest, in this order: a manifest is
// never without its signature.
func writeManifest(in Input, files []ledger.BureauFile, counts map[string]int64) error {
	m := Manifest{RunID: in.RunID}
	if err := m.addFolder(in, files, counts); err != nil {
		return err
	}
	for _, a := range in.Artifacts {
		if err := m.add(in.Workspace, a.Path, a.kind(), a.Rows); err != nil {
			return err
		}
	}
	for _, f := range files {
		if f.RunID == in.RunID || f.SentRunID == in.RunID {
			m.addFrozen(f)
		}
	}
	slices.SortFunc(m.Files, func(a, b ManifestFile) int { return strings.Compare(a.Path, b.Path) })
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if in.Sign != nil {
		signature, err := in.Sign(bytes.NewReader(text))
		if err != nil {
			return fmt.Errorf("sign the manifest: %w", err)
		}
		if err := in.Files.Write(filepath.Join(in.Dir, signatureName), writeBytes(signature)); err != nil {
			return err
		}
	}
	return in.Files.Write(filepath.Join(in.Dir, manifestName), writeBytes(text))
}

func writeBytes(content []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	}
}

// addFolder adds what lies in the run's folder: the reports, and the masked
// twins that were written beside them.
func (m *Manifest) addFolder(in Input, files []ledger.BureauFile, counts map[string]int64) error {
	entries, err := os.ReadDir(in.Dir)
	if err != nil {
		return err
	}
	folder, err := filepath.Rel(in.Workspace, in.Dir)
	if err != nil {
		return fmt.Errorf("%s is not in the workspace: %w", in.Dir, err)
	}
	for _, e := range entries {
		name := e.Name()
		if !e.Type().IsRegular() || name == manifestName || name == signatureName || strings.HasPrefix(name, durable.TempPrefix) {
			continue
		}
		kind, count := "report", counts[name]
		if strings.Contains(name, ".masked.") {
			kind, count = "masked_twin", recordsOf(name, files)
		}
		if err := m.add(in.Workspace, filepath.Join(folder, name), kind, count); err != nil {
			return err
		}
	}
	return nil
}

// recordsOf finds the bureau file whose masked twin this is: its name is the
// twin's up to ".masked.", or goes on from there with its endings.
func recordsOf(twin string, files []ledger.BureauFile) int64 {
	stem, _, _ := strings.Cut(twin, ".masked.")
	for _, f := range files {
		if f.Name == stem || strings.HasPrefix(f.Name, stem+".") {
			return f.Records
		}
	}
	return 0
}

func (m *Manifest) add(workspace, path, kind string, count int64) error {
	entry := ManifestFile{Path: filepath.ToSlash(path), Kind: kind, Count: count}
	size, sum, err := hashFile(filepath.Join(workspace, path))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		entry.Gone = true
	case errors.Is(err, fs.ErrPermission): // it came like that, and was refused for it
		entry.Unreadable = true
	case err != nil:
		return fmt.Errorf("read %s for the manifest: %w", path, err)
	default:
		entry.Size, entry.SHA256 = size, sum
	}
	m.Files = append(m.Files, entry)
	return nil
}

// addFrozen adds an outgoing file of this run. What is only planned has no
// bytes yet, and what was cancelled before it was written never had any.
func (m *Manifest) addFrozen(f ledger.BureauFile) {
	if f.State == ledger.Planned || f.State == ledger.Void && f.WrittenAt.IsZero() {
		return
	}
	kind := "bureau_file"
	switch f.Recipient {
	case config.CardSystem:
		kind = "card_system_file"
	case config.PINRecipient:
		kind = "pin_file"
	}
	m.Files = append(m.Files, ManifestFile{Path: "outbox/" + f.Recipient + "/" + f.Name, Kind: kind, Size: f.Size, SHA256: f.SHA256, Count: f.Records})
}

func hashFile(path string) (size int64, sum string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	hash := sha256.New()
	if size, err = io.Copy(hash, f); err != nil {
		return 0, "", err
	}
	return size, hex.EncodeToString(hash.Sum(nil)), nil
}
