-- Who brought a request file, and sets of orders that wait for a second person.

ALTER TABLE request_files ADD COLUMN submitter TEXT NOT NULL DEFAULT ''; -- the person whose signature was verified
ALTER TABLE request_files ADD COLUMN owner TEXT NOT NULL DEFAULT '';     -- login of the owner of the file in the inbox
ALTER TABLE request_files ADD COLUMN approval TEXT NOT NULL DEFAULT '';  -- the hold that this file is a decision about

-- A set of queued orders of one bureau that becomes one file once a second person approves it. Never removed.
CREATE TABLE holds (
  id             INTEGER PRIMARY KEY,
  name           TEXT NOT NULL UNIQUE,
  bureau         TEXT NOT NULL,
  run            INTEGER NOT NULL REFERENCES runs (seq), -- that set it aside
  records        INTEGER NOT NULL CHECK (records > 0),
  digest         TEXT NOT NULL,                          -- keyed, over all that is approved
  state          TEXT NOT NULL,
  held_at        INTEGER,
  decided_at     INTEGER,
  decided_run    INTEGER REFERENCES runs (seq),          -- in which the decision became known, NULL until the next one
  decided_by     TEXT NOT NULL DEFAULT '',
  how            TEXT NOT NULL DEFAULT '',
  reason         TEXT NOT NULL DEFAULT '',
  bureau_file_id INTEGER REFERENCES bureau_files (id)    -- once planned
) STRICT;
CREATE UNIQUE INDEX holds_file ON holds (bureau_file_id) WHERE bureau_file_id IS NOT NULL;
CREATE INDEX holds_open ON holds (id) WHERE state <> 'CANCELLED' AND bureau_file_id IS NULL;

-- The hold that keeps an order out of its bureau's queue, or in which it was cancelled; NULL again once it is planned.
ALTER TABLE orders ADD COLUMN hold_id INTEGER;
DROP INDEX orders_queued;
CREATE INDEX orders_queued ON orders (bureau, sort_key, uid) WHERE state = 'QUEUED' AND hold_id IS NULL;
CREATE INDEX orders_in_hold ON orders (hold_id, state, sort_key, uid) WHERE hold_id IS NOT NULL;

-- The requested card as it was before an order that may be held, and what the order set (NULL: left alone). Kept until
-- the order is planned; of a cancelled one for ever, for the card's history.
CREATE TABLE card_before (
  order_id            INTEGER PRIMARY KEY,   -- orders.id
  card_id             INTEGER NOT NULL,
  status              TEXT NOT NULL,
  status_set          TEXT,
  psn                 INTEGER NOT NULL,
  psn_set             INTEGER,
  expiry              INTEGER NOT NULL,
  expiry_set          INTEGER,
  start_date          TEXT NOT NULL,
  start_date_set      TEXT,
  validity_months     INTEGER NOT NULL,
  validity_months_set INTEGER,
  cvk_ref             TEXT NOT NULL,
  cvk_ref_set         TEXT,
  printed_name        TEXT NOT NULL,
  printed_name_set    TEXT,
  successor_set       INTEGER,
  decided             INTEGER NOT NULL
) STRICT;
CREATE INDEX card_before_of_card ON card_before (card_id);
