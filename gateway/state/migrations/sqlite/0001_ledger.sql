-- Receipts: the columns are what costs are summed and filtered by; body is the whole receipt as JSON.
CREATE TABLE receipts (
    id TEXT PRIMARY KEY,
    time REAL NOT NULL,
    key TEXT NOT NULL,
    team TEXT,
    user TEXT,
    tags TEXT,
    route TEXT,
    deployment TEXT,
    provider TEXT,
    model TEXT,
    sensitivity TEXT,
    status INTEGER NOT NULL,
    cached INTEGER NOT NULL,
    estimated INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    fresh_input INTEGER NOT NULL,
    cached_input INTEGER NOT NULL,
    cache_write_5m INTEGER NOT NULL,
    cache_write_1h INTEGER NOT NULL,
    audio_input INTEGER NOT NULL,
    image_input INTEGER NOT NULL,
    output_text INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    audio_output INTEGER NOT NULL,
    nano_usd INTEGER NOT NULL,
    saved_nano INTEGER NOT NULL,
    price_version TEXT,
    body TEXT NOT NULL
) STRICT;

CREATE INDEX receipts_by_time ON receipts (time);

-- Every price a receipt may name, as JSON; the version is the hash of its rates.
CREATE TABLE prices (
    version TEXT PRIMARY KEY,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE keys (
    hash TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    team TEXT,
    user TEXT,
    tags TEXT NOT NULL,
    models TEXT,
    routes TEXT,
    sensitivity TEXT,
    expires_at REAL,
    enabled INTEGER NOT NULL,
    created_at REAL NOT NULL
) STRICT;

-- One row: grows with every change of a key, so that a server notices keys that a command made beside it.
CREATE TABLE keys_version (version INTEGER NOT NULL) STRICT;
INSERT INTO keys_version VALUES (0);
CREATE TRIGGER key_added AFTER INSERT ON keys BEGIN UPDATE keys_version SET version = version + 1; END;
CREATE TRIGGER key_changed AFTER UPDATE ON keys BEGIN UPDATE keys_version SET version = version + 1; END;
CREATE TRIGGER key_removed AFTER DELETE ON keys BEGIN UPDATE keys_version SET version = version + 1; END;
