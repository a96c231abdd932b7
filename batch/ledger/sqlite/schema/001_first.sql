-- Times are milliseconds since 1970 in UTC, NULL for none. Dates are text, YYYY-MM-DD.
-- An expiry is year*100+month. A run is named by its seq in every other table.
-- Tables with a row for every request (answers, orders, order_bodies, open_cards) have no index that a night can do
-- without, and neither foreign keys nor triggers: each row would pay for them, and an update of a million rows would
-- keep all that it replaces in memory. What they refer to is looked up once for each chunk.

CREATE TABLE runs (
  seq          INTEGER PRIMARY KEY,
  id           TEXT NOT NULL UNIQUE,         -- 2026-11-21-001
  date         TEXT NOT NULL,
  number       INTEGER NOT NULL,             -- within the date, from 1
  started_at   INTEGER NOT NULL,
  ended_at     INTEGER,
  starts       INTEGER NOT NULL,
  exit         INTEGER NOT NULL DEFAULT 0,
  host         TEXT NOT NULL,
  version      TEXT NOT NULL,
  summary      BLOB,
  orders_after INTEGER NOT NULL,             -- newest orders.id when it began; only an open run takes orders, so its own are the next ones
  UNIQUE (date, number)
) STRICT;
CREATE UNIQUE INDEX runs_one_open ON runs (ended_at IS NULL) WHERE ended_at IS NULL;

CREATE TABLE stages (
  id         INTEGER PRIMARY KEY,
  run        INTEGER NOT NULL REFERENCES runs (seq),
  name       TEXT NOT NULL,
  started_at INTEGER,
  ended_at   INTEGER,
  items      INTEGER NOT NULL
) STRICT;
CREATE INDEX stages_of_run ON stages (run);

CREATE TABLE cards (
  id                 INTEGER PRIMARY KEY,
  account_id         TEXT NOT NULL,
  customer_id        TEXT NOT NULL,
  program_id         TEXT NOT NULL,
  product            TEXT NOT NULL,
  type               TEXT NOT NULL,
  status             TEXT NOT NULL,
  pan_sealed         BLOB,                   -- AEAD, card id as associated data; NULL for a card without a number
  pan_index          BLOB,                   -- HMAC-SHA-256 of the whole PAN
  pan_index_key      TEXT,
  psn                INTEGER NOT NULL,
  expiry             INTEGER NOT NULL,
  printed_name       TEXT NOT NULL,
  title              TEXT NOT NULL,
  first_name         TEXT NOT NULL,
  last_name          TEXT NOT NULL,
  company_name       TEXT NOT NULL,
  address_line1      TEXT NOT NULL,
  address_line2      TEXT NOT NULL,
  address_line3      TEXT NOT NULL,
  address_line4      TEXT NOT NULL,
  city               TEXT NOT NULL,
  region             TEXT NOT NULL,
  postcode           TEXT NOT NULL,
  country            TEXT NOT NULL,
  address_status     TEXT NOT NULL,
  phone              TEXT NOT NULL,
  email              TEXT NOT NULL,
  language           TEXT NOT NULL,
  account_number     TEXT NOT NULL,
  balance            TEXT NOT NULL,
  currency           TEXT NOT NULL,
  pin_set            INTEGER NOT NULL,
  embossing_group    TEXT NOT NULL,
  start_date         TEXT NOT NULL,          -- '' for expiry minus validity
  validity_months    INTEGER NOT NULL,
  cvk_ref            TEXT NOT NULL,
  shipment_status    TEXT NOT NULL,
  shipped_at         INTEGER,
  decided            INTEGER NOT NULL,       -- bits of ledger.Decided
  updated_at         INTEGER,
  successor          INTEGER NOT NULL DEFAULT 0,
  predecessor        INTEGER NOT NULL DEFAULT 0,
  shipment_closed_at INTEGER                 -- an imported shipment that left at or before this time is under way no more
) STRICT;
CREATE UNIQUE INDEX cards_pan ON cards (pan_index, psn);

CREATE TABLE request_files (
  id         INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again, not even that of a dropped file
  run        INTEGER REFERENCES runs (seq),
  extract    INTEGER NOT NULL,
  name       TEXT NOT NULL,
  intake     TEXT NOT NULL,
  sha256     TEXT NOT NULL,
  size       INTEGER NOT NULL,
  state      TEXT NOT NULL,
  code       TEXT NOT NULL,
  detail     TEXT NOT NULL,
  rows       INTEGER NOT NULL,
  holds_pan  INTEGER NOT NULL,
  notes      TEXT NOT NULL,                  -- JSON list, '' for none
  final      TEXT NOT NULL,
  claimed_at INTEGER
) STRICT;
CREATE INDEX request_files_content ON request_files (sha256);
CREATE INDEX request_files_open ON request_files (id) WHERE state <> 'ANSWERED';

-- Which runs touched a request file: claimed it or answered rows of it.
CREATE TABLE file_runs (
  run  INTEGER NOT NULL REFERENCES runs (seq),
  file INTEGER NOT NULL,
  PRIMARY KEY (run, file)
) STRICT, WITHOUT ROWID;

CREATE TABLE bureau_files (
  id            INTEGER PRIMARY KEY,
  recipient     TEXT NOT NULL,
  sequence      INTEGER NOT NULL CHECK (sequence > 0),
  name          TEXT NOT NULL UNIQUE,
  state         TEXT NOT NULL,
  run           INTEGER REFERENCES runs (seq),
  planned_at    INTEGER,
  records       INTEGER NOT NULL CHECK (records > 0),
  layout        TEXT NOT NULL,
  layout_text   BLOB,
  head          BLOB,
  plain_digest  TEXT NOT NULL,
  recipient_key TEXT NOT NULL,
  signing_key   TEXT NOT NULL,
  size          INTEGER NOT NULL DEFAULT 0,
  sha256        TEXT NOT NULL DEFAULT '',
  written_at    INTEGER,
  sent_at       INTEGER,
  sent_run      INTEGER REFERENCES runs (seq),
  evidence      BLOB,
  last_error    TEXT NOT NULL DEFAULT '',
  UNIQUE (recipient, sequence)
) STRICT;

CREATE TABLE deliveries (
  id       INTEGER PRIMARY KEY,
  file     INTEGER NOT NULL REFERENCES bureau_files (id),
  run      INTEGER REFERENCES runs (seq),
  at       INTEGER,
  state    TEXT NOT NULL,
  error    TEXT NOT NULL,
  reason   TEXT NOT NULL,
  evidence BLOB
) STRICT;
CREATE INDEX deliveries_of_file ON deliveries (file);

-- The part of an order that changes or is searched. The rest, written once, is in order_bodies.
CREATE TABLE orders (
  id                  INTEGER PRIMARY KEY,
  uid                 TEXT NOT NULL UNIQUE,
  run                 INTEGER NOT NULL,
  answer              INTEGER NOT NULL,      -- answers.id
  kind                TEXT NOT NULL,
  card_id             INTEGER NOT NULL,
  embossed_card_id    INTEGER NOT NULL,
  bureau              TEXT NOT NULL,
  product             TEXT NOT NULL,
  sort_key            TEXT NOT NULL,
  state               TEXT NOT NULL,
  created_at          INTEGER NOT NULL,
  closed_at           INTEGER,
  bureau_file_id      INTEGER,               -- NULL: in no file yet
  card_system_file_id INTEGER
) STRICT;
CREATE INDEX orders_of_card ON orders (embossed_card_id, id);
CREATE INDEX orders_queued ON orders (bureau, sort_key, uid) WHERE state = 'QUEUED';
CREATE INDEX orders_in_file ON orders (bureau_file_id, sort_key, uid) WHERE bureau_file_id IS NOT NULL;
CREATE INDEX orders_for_card_system ON orders (card_system_file_id, uid) WHERE kind = 'reissue' AND bureau_file_id IS NOT NULL;

CREATE TABLE order_bodies (
  id                INTEGER PRIMARY KEY,     -- orders.id
  pan_sealed        BLOB,                    -- AEAD, embossed card id as associated data
  psn               INTEGER NOT NULL,
  expiry            INTEGER NOT NULL,
  reason            INTEGER NOT NULL,
  type              INTEGER NOT NULL,
  type_derived      INTEGER NOT NULL,
  shipping_method   INTEGER NOT NULL,
  expected_delivery TEXT NOT NULL,
  fee               TEXT NOT NULL,
  status            TEXT NOT NULL,
  old_status        TEXT NOT NULL,
  reembossing       INTEGER NOT NULL,        -- the how-manieth of its card, from 1; 0 for a reissue
  record            BLOB,
  decision          BLOB
) STRICT;

-- Cards that an open order (QUEUED, PLANNED) touches, as the requested or as the embossed card. Its key is the
-- invariant "no card has two open orders", over both roles at once.
CREATE TABLE open_cards (
  card_id  INTEGER PRIMARY KEY,
  order_id INTEGER NOT NULL
) STRICT;

CREATE TABLE answers (
  id             INTEGER PRIMARY KEY,        -- file << 32 | pos: unique, and in (file, row) order
  run            INTEGER,
  sheet          TEXT NOT NULL,
  line           INTEGER NOT NULL,
  kind           TEXT NOT NULL,
  card_id        TEXT NOT NULL,
  outcome        TEXT NOT NULL,
  class          INTEGER NOT NULL,
  code           TEXT NOT NULL,
  codes          TEXT NOT NULL,              -- separated by spaces
  message        TEXT NOT NULL,
  reference      TEXT NOT NULL,
  submitter      TEXT NOT NULL,
  content_digest TEXT NOT NULL,
  row_digest     TEXT NOT NULL,
  reason         INTEGER NOT NULL,
  order_id       INTEGER
) STRICT;
-- A reference is claimed by the accepted row that used it first, and by no other row.
CREATE UNIQUE INDEX answers_reference ON answers (reference) WHERE outcome = 'accepted' AND reference <> '';

CREATE TABLE counters (
  name  TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE pan_ranges (
  name       TEXT PRIMARY KEY,
  prefix     TEXT NOT NULL,
  key        TEXT NOT NULL,
  tweak      TEXT NOT NULL,
  pan_length INTEGER NOT NULL,
  low        INTEGER NOT NULL,
  high       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
  seq     INTEGER PRIMARY KEY,
  at      INTEGER NOT NULL,
  who     TEXT NOT NULL,
  what    TEXT NOT NULL,
  subject TEXT NOT NULL,
  detail  TEXT NOT NULL,
  hash    TEXT NOT NULL
) STRICT;

-- The newest entry, told apart from the entries: shows that the end of the chain was cut off.
CREATE TABLE audit_head (
  one  INTEGER PRIMARY KEY CHECK (one = 1),
  seq  INTEGER NOT NULL,
  hash TEXT NOT NULL
) STRICT;
INSERT INTO audit_head VALUES (1, 0, '');
