-- What retention deleted, and what it counts from.

CREATE TABLE deletions (
  kind TEXT NOT NULL,
  id   INTEGER NOT NULL,
  at   INTEGER NOT NULL,
  PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;

-- In which run a request file came to its last place: its results are kept from the end of that run on.
CREATE TABLE answered_in (
  file INTEGER PRIMARY KEY,
  run  INTEGER NOT NULL REFERENCES runs (seq)
) STRICT;
INSERT INTO answered_in (file, run)
  SELECT f.id, r.run FROM request_files f JOIN (SELECT file, max(run) AS run FROM file_runs GROUP BY file) r ON r.file = f.id WHERE f.state = 'ANSWERED';

CREATE INDEX return_runs_of_file ON return_runs (file, run);
CREATE INDEX request_files_place ON request_files (final) WHERE final <> '';
