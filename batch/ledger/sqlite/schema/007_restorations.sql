-- Ledgers that were put back from a backup, and what is passed over since: a lost night may have given it out.

CREATE TABLE restorations (
  id            INTEGER PRIMARY KEY,
  at            INTEGER NOT NULL,
  who           TEXT NOT NULL,
  reason        TEXT NOT NULL,
  backup_at     INTEGER,
  psns          INTEGER NOT NULL,
  replaced_seq  INTEGER NOT NULL,            -- newest entry of the audit chain that was replaced, 0 for none
  replaced_hash TEXT NOT NULL
) STRICT;

CREATE TABLE skipped_numbers (
  restoration INTEGER NOT NULL REFERENCES restorations (id),
  counter     TEXT NOT NULL,
  first       INTEGER NOT NULL,
  last        INTEGER NOT NULL,
  PRIMARY KEY (restoration, counter)
) STRICT, WITHOUT ROWID;

-- Of each card that was in a restored registry: its PSN then, and how many beyond those in use its number passes over.
CREATE TABLE skipped_psns (
  card_id INTEGER PRIMARY KEY,
  psn     INTEGER NOT NULL,
  skip    INTEGER NOT NULL
) STRICT;

ALTER TABLE holds ADD COLUMN restored INTEGER NOT NULL DEFAULT 0;

-- How many runs were ever opened: a ledger that lost one is behind its mark, whatever that run gave out.
INSERT INTO counters (name, value) SELECT 'runs', (SELECT max(seq) FROM runs) WHERE EXISTS (SELECT 1 FROM runs);
