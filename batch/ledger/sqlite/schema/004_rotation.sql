-- Keys that rows of cards and order_bodies may be under: kind 'seal' or 'index', the id as the vault names it. A key
-- comes with the first row under it, in the same transaction, and goes when a count of all rows finds none under it.
-- '' stands for what was sealed before this was kept.
CREATE TABLE row_keys (
  kind TEXT NOT NULL,
  id   TEXT NOT NULL,
  PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;

INSERT INTO row_keys SELECT DISTINCT 'index', pan_index_key FROM cards WHERE pan_index_key IS NOT NULL;
INSERT INTO row_keys SELECT 'seal', '' WHERE EXISTS (SELECT 1 FROM cards WHERE pan_sealed IS NOT NULL) OR EXISTS (SELECT 1 FROM order_bodies WHERE pan_sealed IS NOT NULL);

-- Where the bringing of rows under new keys stands. There is no row while nothing is to be done.
CREATE TABLE rekeying (
  one         INTEGER PRIMARY KEY CHECK (one = 1),
  seal_key    TEXT NOT NULL,    -- the keys that rows are brought under
  index_key   TEXT NOT NULL,
  card        INTEGER NOT NULL, -- last one looked at
  body        INTEGER NOT NULL,
  cards_done  INTEGER NOT NULL,
  cards_left  INTEGER NOT NULL,
  orders_done INTEGER NOT NULL,
  orders_left INTEGER NOT NULL,
  unreadable  INTEGER NOT NULL  -- since the first row was looked at
) STRICT;
