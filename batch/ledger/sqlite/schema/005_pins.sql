-- New PINs. new_pin says of an order whose number is new where its PIN comes from: 'file' a PIN file, 'due' somebody
-- else, '' it needs none. Neither a PIN, nor a PIN block, nor a PVV is ever here.
ALTER TABLE orders ADD COLUMN new_pin TEXT NOT NULL DEFAULT '';
ALTER TABLE orders ADD COLUMN pin_file_id INTEGER;

-- As for the card system: an order of a cancelled file stays in the PIN file that has its PIN.
CREATE INDEX orders_for_pins ON orders (uid) WHERE new_pin = 'file' AND bureau_file_id IS NOT NULL AND pin_file_id IS NULL;
CREATE INDEX orders_in_pin_file ON orders (pin_file_id, uid) WHERE pin_file_id IS NOT NULL;
CREATE INDEX orders_with_new_pin ON orders (run, new_pin) WHERE new_pin <> '';
