-- What a key may do on the admin surface, what it may spend and how fast (JSON), and the key that it had before.
ALTER TABLE keys ADD COLUMN role TEXT;
ALTER TABLE keys ADD COLUMN budgets TEXT;
ALTER TABLE keys ADD COLUMN limits TEXT;
ALTER TABLE keys ADD COLUMN previous_hash TEXT;
ALTER TABLE keys ADD COLUMN previous_until REAL;
