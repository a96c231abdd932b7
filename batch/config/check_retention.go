package config

// longestRetention is the most days for which something is kept before it is
// deleted: a hundred years, so that a slip of the keyboard is seen.
const longestRetention = 36_500

// retention checks for how long what was delivered and settled is kept. Nothing
// is settled before its shipments may have arrived, so that a shorter time for
// sealed files would promise what does not happen.
func (c *checker) retention() {
	const at = "retention"
	for _, kept := range []struct {
		key, meaning string
		days         int
	}{
		{"sealed_files", "the days for which sealed files stay in outbox/", c.Retention.SealedFiles},
		{"results", "the days for which request files and their results stay in done/ and refused/", c.Retention.Results},
		{"returns", "the days for which return files stay in returns/", c.Retention.Returns},
		{"reports", "the days for which the reports of a run stay in reports/", c.Retention.Reports},
	} {
		c.within(join(at, kept.key), int64(kept.days), 0, longestRetention, kept.meaning+" (0: for ever)")
	}
	if c.Retention.SealedFiles <= 0 {
		return
	}
	product, longest := "", 0
	for name, p := range c.Products {
		if p.TransitDays > longest || p.TransitDays == longest && name < product {
			product, longest = name, p.TransitDays
		}
	}
	if c.Retention.SealedFiles < longest {
		c.wrong(join(at, "sealed_files"), "%d is shorter than transit_days of %s, %d: until then a file that was lost on its way is repeated with the same bytes; write at least %d, or 0 for ever", c.Retention.SealedFiles, product, longest, longest)
	}
}
