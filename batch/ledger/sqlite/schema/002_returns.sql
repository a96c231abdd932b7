-- What bureaus send back: return files, events, problems; files that were cancelled; the outbox of a webhook.
-- A night adds a row of events for every card of a return file, so that events, like orders, has neither foreign keys
-- nor triggers, and only such indexes as grow at their end or are partial.

CREATE TABLE return_files (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  run        INTEGER REFERENCES runs (seq),  -- that fetched it
  bureau     TEXT NOT NULL,
  name       TEXT NOT NULL,
  size       INTEGER NOT NULL,
  sha256     TEXT NOT NULL,
  mod_time   INTEGER,                        -- at the bureau
  state      TEXT NOT NULL,
  code       TEXT NOT NULL,
  detail     TEXT NOT NULL,
  signed_by  TEXT NOT NULL,
  held       TEXT NOT NULL,
  final      TEXT NOT NULL,
  lines      INTEGER NOT NULL,
  settled    INTEGER NOT NULL,
  fetched_at INTEGER,
  -- What CommitReturn alone moves.
  applied    INTEGER NOT NULL DEFAULT 0,
  known      INTEGER NOT NULL DEFAULT 0,
  problems   INTEGER NOT NULL DEFAULT 0,
  pos        INTEGER NOT NULL DEFAULT 0      -- last line that is in the ledger
) STRICT;
CREATE INDEX return_files_content ON return_files (bureau, sha256);
CREATE INDEX return_files_name ON return_files (bureau, name);
CREATE INDEX return_files_state ON return_files (state);
CREATE INDEX return_files_unsettled ON return_files (id) WHERE settled = 0;

-- Which runs touched a return file: fetched it, applied lines of it, or changed its state.
CREATE TABLE return_runs (
  run  INTEGER NOT NULL REFERENCES runs (seq),
  file INTEGER NOT NULL,
  PRIMARY KEY (run, file)
) STRICT, WITHOUT ROWID;

-- What happened to an order, or (order_id NULL) to a bureau file as a whole. Rows are added and never changed, but for
-- the settling of a disputed one. acked and rejected are postings to the file's balance: +1, 0, -1.
CREATE TABLE events (
  id             INTEGER PRIMARY KEY,
  order_id       INTEGER,
  bureau_file_id INTEGER,
  status         TEXT NOT NULL,
  at             INTEGER,                    -- when it happened, by its teller
  code           TEXT NOT NULL,
  description    TEXT NOT NULL,
  carrier        TEXT NOT NULL,
  tracking       TEXT NOT NULL,
  count          INTEGER NOT NULL,
  source         TEXT NOT NULL,
  return_file    INTEGER,
  line           INTEGER NOT NULL,
  run            INTEGER,
  recorded_at    INTEGER,
  state          TEXT NOT NULL,              -- what the order became by it, '' for nothing
  acked          INTEGER NOT NULL,
  rejected       INTEGER NOT NULL,
  dispute        TEXT NOT NULL,
  settled_at     INTEGER,
  settlement     TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX events_of_order ON events (order_id) WHERE order_id IS NOT NULL;
CREATE INDEX events_of_run ON events (run);
CREATE INDEX events_of_file ON events (bureau_file_id) WHERE order_id IS NULL;
CREATE INDEX events_postings ON events (bureau_file_id, acked, rejected) WHERE acked <> 0 OR rejected <> 0;
CREATE INDEX events_disputed ON events (id) WHERE dispute <> '' AND settled_at IS NULL;

CREATE TABLE return_problems (
  id          INTEGER PRIMARY KEY,
  return_file INTEGER NOT NULL,
  line        INTEGER NOT NULL,
  run         INTEGER,                       -- in which the line was applied
  code        TEXT NOT NULL,
  file_name   TEXT NOT NULL,
  uid         TEXT NOT NULL,
  detail      TEXT NOT NULL
) STRICT;
CREATE INDEX return_problems_of_file ON return_problems (return_file, line);

-- Orders that left a bureau file because it was cancelled.
CREATE TABLE order_moves (
  id        INTEGER PRIMARY KEY,
  order_id  INTEGER NOT NULL,
  from_file INTEGER NOT NULL,                -- the VOID one
  at        INTEGER,
  reason    TEXT NOT NULL,
  run       INTEGER
) STRICT;
CREATE INDEX order_moves_from ON order_moves (from_file);

-- An id stays when its event was delivered, the body does not.
CREATE TABLE outbox (
  seq          INTEGER PRIMARY KEY,
  id           TEXT NOT NULL UNIQUE,
  run          INTEGER,
  body         BLOB,
  attempts     INTEGER NOT NULL DEFAULT 0,
  stored_at    INTEGER,
  tried_at     INTEGER,
  delivered_at INTEGER,
  last_error   TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX outbox_pending ON outbox (seq) WHERE delivered_at IS NULL;

-- The orders of a file by their state: balances count it, what is under way is read by it.
CREATE INDEX orders_by_state ON orders (bureau_file_id, state, uid) WHERE bureau_file_id IS NOT NULL;

-- An order of a cancelled file is in no bureau file for a while and stays in the card system file that told of it.
DROP INDEX orders_for_card_system;
CREATE INDEX orders_for_card_system ON orders (uid) WHERE kind = 'reissue' AND bureau_file_id IS NOT NULL AND card_system_file_id IS NULL;
CREATE INDEX orders_in_card_system_file ON orders (card_system_file_id, uid) WHERE card_system_file_id IS NOT NULL;

-- Shipments that were closed before there were events: their bureaus must have had them.
INSERT INTO events (order_id, bureau_file_id, status, at, code, description, carrier, tracking, count, source, line, run, recorded_at, state, acked, rejected, dispute)
  SELECT id, bureau_file_id, state, closed_at, '', '', '', '', -1, iif(state = 'ACTIVATED', 'extract', 'request'), 0, (SELECT max(seq) FROM runs), closed_at, state, 1, 0, ''
  FROM orders WHERE state IN ('ACTIVATED', 'RETURNED') AND bureau_file_id IS NOT NULL ORDER BY id;
