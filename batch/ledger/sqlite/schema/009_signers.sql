-- Whose key signed a request file, by its fingerprint: the name of a person in config.yaml may change. '' for a file that
-- is not signed, and for one from before this was kept.
ALTER TABLE request_files ADD COLUMN signer TEXT NOT NULL DEFAULT '';
