-- One row: how many of these files this database has.
CREATE TABLE schema_version (version integer NOT NULL);
INSERT INTO schema_version VALUES (0);

-- Receipts: the columns are what costs are summed and filtered by. Texts sort by their bytes, as they do in SQLite.
-- body is the whole receipt: json and not jsonb, which refuses \u0000 in a text (any caller can send one), drops
-- repeated keys, and would no longer be the provider's usage object as it came.
CREATE TABLE receipts (
    id text COLLATE "C" PRIMARY KEY,
    "time" double precision NOT NULL,
    "key" text COLLATE "C" NOT NULL,
    team text COLLATE "C",
    "user" text COLLATE "C",
    tags jsonb,
    route text COLLATE "C",
    deployment text COLLATE "C",
    provider text COLLATE "C",
    model text COLLATE "C",
    sensitivity text COLLATE "C",
    status integer NOT NULL,
    cached boolean NOT NULL,
    estimated boolean NOT NULL,
    unpriced boolean NOT NULL,
    fresh_input bigint NOT NULL,
    cached_input bigint NOT NULL,
    cache_write_5m bigint NOT NULL,
    cache_write_1h bigint NOT NULL,
    audio_input bigint NOT NULL,
    image_input bigint NOT NULL,
    output_text bigint NOT NULL,
    reasoning bigint NOT NULL,
    audio_output bigint NOT NULL,
    nano_usd bigint NOT NULL,
    saved_nano bigint NOT NULL,
    price_version text COLLATE "C",
    body json NOT NULL
);

CREATE INDEX receipts_by_time ON receipts ("time");

-- Every price a receipt may name; the version is the hash of its rates.
CREATE TABLE prices (
    version text COLLATE "C" PRIMARY KEY,
    body jsonb NOT NULL
);

CREATE TABLE keys (
    hash text COLLATE "C" PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    team text COLLATE "C",
    "user" text COLLATE "C",
    tags jsonb NOT NULL,
    models jsonb,
    routes jsonb,
    sensitivity text COLLATE "C",
    expires_at double precision,
    enabled boolean NOT NULL,
    strict boolean NOT NULL,
    created_at double precision NOT NULL
);

-- One row: grows with every change of a key, so that a server notices keys that a command made beside it. A row, not a
-- sequence: it changes as the change commits, and a sequence runs ahead of it.
CREATE TABLE keys_version (version bigint NOT NULL);
INSERT INTO keys_version VALUES (0);
CREATE FUNCTION count_key_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE keys_version SET version = version + 1;
    RETURN NULL;
END
$$;
CREATE TRIGGER key_changed AFTER INSERT OR UPDATE OR DELETE ON keys
    FOR EACH ROW EXECUTE FUNCTION count_key_change();
