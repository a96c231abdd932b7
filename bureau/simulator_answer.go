package bureau

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Contents is what the Check of a simulated bureau with a [Life] says of a good file.
type Contents interface {
	Sequence() int64 // control number; 0 for none
	// TakeUIDs gives the uid of each record in the file's order, and forgets them.
	TakeUIDs() []string
}

// Answer has the bureau tell what happened until now and was not told yet. It
// writes at most one file into Dir/returns and gives its name. Called again for
// the same time it writes nothing. Without a [Life] it does nothing.
//
// The process may be killed at any point: the return file is durable under its name
// before the memory says that its events were told, so that an event may be told once more than the Life wants, never less.
func (s *Simulator) Answer(now time.Time) ([]string, error) {
	if s.config.Life == nil {
		return nil, nil
	}
	written, err := s.answer(now.UTC())
	if err != nil {
		return nil, fmt.Errorf("simulated bureau %s: answer: %w", s.config.Name, err)
	}
	return written, nil
}

func (s *Simulator) answer(now time.Time) ([]string, error) {
	if err := s.noteAll(); err != nil {
		return nil, err
	}
	memory, unlock, err := openLife(s.config.Dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	answers, err := s.answersUntil(memory, now)
	if err != nil {
		return nil, err
	}
	if len(answers) == 0 {
		return nil, memory.saveEnded()
	}
	memory.Written++
	name, err := s.writeReturn(memory, now, s.arrange(answers, memory.Written))
	if err != nil {
		return nil, err
	}
	if err := s.release(answers, memory); err != nil {
		return nil, err
	}
	if err := memory.save(); err != nil {
		return nil, err
	}
	s.config.Log("simulated bureau %s: %d lines told in %s", s.config.Name, len(answers), name)
	s.config.Answered(name, answers)
	return []string{name}, nil
}

// noteAll sees to it that every file under a final name is remembered, those of earlier lives too.
func (s *Simulator) noteAll() error {
	for range 2 { // a second time for those whose noting failed
		if err := s.openUnknown(); err != nil {
			return err
		}
		s.mu.Lock()
		s.waitOpened()
		err := s.unnoted
		s.unnoted = nil
		s.mu.Unlock()
		if err == nil {
			return nil
		}
		s.config.Log("simulated bureau %s: %v", s.config.Name, err)
	}
	return errors.New("files that came could not be noted; see the log")
}

// openUnknown opens the files under final names that the memory does not have.
func (s *Simulator) openUnknown() error {
	names, err := s.finalNames()
	if err != nil {
		return err
	}
	memory, err := readLife(s.config.Dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if memory.knows(name) {
			continue
		}
		s.mu.Lock()
		if r := s.received[name]; r != nil { // opened before, and not remembered
			delete(s.received, name)
		}
		s.mu.Unlock()
		s.arrived(name)
	}
	return nil
}

// note remembers a file that was opened.
func (s *Simulator) note(r Received) error {
	came := s.config.Now() // where it was moved on meanwhile
	if entry, err := s.root.Lstat(r.Name); err == nil {
		came = entry.ModTime()
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("note %s: %w", r.Name, err)
	}
	memory, unlock, err := openLife(s.config.Dir)
	if err != nil {
		return fmt.Errorf("note %s: %w", r.Name, err)
	}
	defer unlock()
	if memory.isCopy(r.Name, r.SHA256) {
		return nil
	}
	if err := memory.add(r, came); err != nil {
		return fmt.Errorf("note %s: %w", r.Name, err)
	}
	return nil
}

// answersUntil gives what is due of every file, and moves the memory (not yet saved) there.
func (s *Simulator) answersUntil(memory *lifeMemory, now time.Time) ([]Answer, error) {
	var answers []Answer
	for _, f := range memory.Files {
		if f.Ended || !now.After(f.Told) {
			continue
		}
		before := len(answers)
		var err error
		if answers, err = s.answersOf(answers, memory, f, now); err != nil {
			return nil, fmt.Errorf("the cards of %s: %w", f.Name, err)
		}
		switch {
		case len(answers) > before:
			f.Before, f.Told, f.Life = f.Told, now, s.lifeOf(f)
		case now.After(s.lifeOf(f).over(f.Received)):
			f.Ended, memory.ended = true, true
		}
	}
	return answers, nil
}

// lifeOf is the life of a file: a simulator with other settings does not contradict what was told.
func (s *Simulator) lifeOf(f *lifeFile) *Life { return cmp.Or(f.Life, s.config.Life) }

// answersOf appends what is due of a file.
func (s *Simulator) answersOf(dst []Answer, memory *lifeMemory, f *lifeFile, now time.Time) ([]Answer, error) {
	take := func(told []telling) {
		for i := range told {
			if told[i].due(f, now) {
				dst = append(dst, told[i].Answer)
			}
		}
	}
	life := s.lifeOf(f)
	take(life.ofFile(f))
	if _, refused := life.refuses(f); refused {
		return dst, nil
	}
	var told []telling
	err := memory.eachUID(f.Name, func(uid string) {
		told = life.ofCard(told[:0], f, uid)
		take(told)
	})
	return dst, err
}

// arrange sorts answers by their time, or shuffles them.
func (s *Simulator) arrange(answers []Answer, number int) []Answer {
	slices.SortStableFunc(answers, func(a, b Answer) int { return a.At.Compare(b.At) })
	if s.config.Life.Shuffle {
		dealer := rand.New(rand.NewPCG(uint64(s.config.Life.Seed), uint64(number)))
		dealer.Shuffle(len(answers), func(i, j int) { answers[i], answers[j] = answers[j], answers[i] })
	}
	return answers
}

// writeReturn writes the next return file, sealed where SealTo is set: clear lines then exist in memory only.
func (s *Simulator) writeReturn(memory *lifeMemory, now time.Time, answers []Answer) (string, error) {
	for {
		name := fmt.Sprintf("%s_returns_%s_%04d.csv", s.config.Name, now.Format("20060102150405"), memory.Written)
		if s.config.SealTo != nil {
			name += ".pgp"
		}
		err := writeWhole(s.config.Dir, filepath.Join(s.config.Dir, outgoing, name), publishAt(now), func(w io.Writer) error {
			return s.tell(w, name, now, answers)
		})
		if !errors.Is(err, fs.ErrExist) {
			return name, err
		}
		memory.Written++ // a process that was killed before it could remember wrote that one
	}
}

// publishAt gives a file a name that must be free, and the simulator's time.
func publishAt(now time.Time) func(from, to string) error {
	return func(from, to string) error {
		if err := os.Chtimes(from, now, now); err != nil {
			return err
		}
		return Folder{}.moveOver(from, to)
	}
}

func (s *Simulator) tell(w io.Writer, name string, now time.Time, answers []Answer) error {
	if s.config.SealTo == nil {
		return s.config.WriteAnswers(w, answers)
	}
	sealed, err := Seal(w, Sealing{To: []*Key{s.config.SealTo}, Signer: s.config.Key, FileName: strings.TrimSuffix(name, ".pgp"), Time: now})
	if err != nil {
		return err
	}
	return errors.Join(s.config.WriteAnswers(sealed, answers), sealed.Close())
}

// release puts the files whose refusal was told out of the way, so that the same bytes may come again.
func (s *Simulator) release(answers []Answer, memory *lifeMemory) error {
	for _, a := range answers {
		f := memory.file(a.FileName)
		if !a.File || a.Status != toldRefused || f.Refused {
			continue
		}
		life := s.lifeOf(f)
		if _, refused := life.refuses(f); !refused || !a.At.Equal(f.Received.Add(life.AckAfter)) {
			continue // the refusal of an earlier delivery, told again
		}
		if err := os.MkdirAll(filepath.Join(s.config.Dir, refusedFolder), 0o700); err != nil {
			return err
		}
		if err := (Folder{Root: s.config.Dir}).SetAside(context.Background(), incoming, a.FileName, refusedFolder); err != nil {
			return err
		}
		f.Refused = true
		s.mu.Lock()
		delete(s.received, a.FileName)
		s.mu.Unlock()
	}
	return nil
}
