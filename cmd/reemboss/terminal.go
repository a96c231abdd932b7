package main

import (
	"io"
	"os"
	"time"

	"github.com/rs/zerolog"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"reemboss/batch"
)

// terminal says whether w is a screen with a person before it.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// defaultLevel: in cron everything that happened, on a screen only what matters (progress shows the rest).
func defaultLevel(w io.Writer) string {
	if terminal(w) {
		return "warn"
	}
	return "info"
}

// logger writes JSON lines in cron and readable lines on a terminal.
func (s *session) logger() zerolog.Logger {
	level, err := zerolog.ParseLevel(s.level)
	if err != nil {
		level = zerolog.InfoLevel
	}
	w := s.err
	if terminal(w) {
		w = zerolog.ConsoleWriter{Out: s.err, TimeFormat: time.TimeOnly}
	}
	return zerolog.New(w).Level(level).With().Timestamp().Logger()
}

// progress draws one bar a stage on a terminal; nil elsewhere.
func (s *session) progress() func(stage string, done, total int64) {
	if !terminal(s.err) {
		return nil
	}
	var bar *progressbar.ProgressBar
	current := ""
	return func(stage string, done, total int64) {
		if total <= 0 {
			total = -1
		}
		if stage != current {
			if bar != nil {
				_ = bar.Finish() // one of unknown length would spin on
			}
			current = stage
			bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(s.err), progressbar.OptionSetDescription(stage),
				progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(), progressbar.OptionShowCount())
		}
		if bar.GetMax64() != total {
			bar.ChangeMax64(total)
		}
		_ = bar.Set64(done)
		if done == total {
			_ = bar.Finish()
		}
	}
}

// open opens the workspace of the command.
func (s *session) open(change bool) (*batch.Night, error) {
	o := s.options()
	o.Lock = change
	return batch.Open(s, s.dir, o)
}
