package config

import "testing"

func TestMistakesAboutRetention(t *testing.T) {
	expectMistakes(t, []change{
		{"days below zero", "sealed_files: 0 ", "sealed_files: -1 ", "-1", "retention.sealed_files", "from 0 to 36500"},
		{"more than a hundred years", "results: 0 ", "results: 36501 ", "36501", "retention.results", "(0: for ever)"},
		{"returns", "returns: 0 ", "returns: -7 ", "-7", "retention.returns", "stay in returns/"},
		{"reports", "reports: 0 ", "reports: -7 ", "-7", "retention.reports", "stay in reports/"},
		{"text", "reports: 0 ", "reports: never ", "never", "retention.reports", "must be a whole number"},
		{"sealed files that may still have to be repeated", "sealed_files: 0 ", "sealed_files: 13 ", "13", "retention.sealed_files", "shorter than transit_days of mc-gold, 14"},
	})
}

func TestRetentionThatHasNoMistake(t *testing.T) {
	for _, days := range []string{"sealed_files: 14 ", "sealed_files: 36500 "} {
		if mistakes := mistakesOf(t, example(t, "sealed_files: 0 ", days, "results: 0 ", "results: 1 ", "returns: 0 ", "returns: 1 ", "reports: 0 ", "reports: 1 ")); len(mistakes) > 0 {
			t.Errorf("%s: %v", days, mistakes)
		}
	}
}
