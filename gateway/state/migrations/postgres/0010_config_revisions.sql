-- Every config that has served, without what is secret in it; the newest serves. hash is that of the text with it.
CREATE TABLE config_revisions (
    number BIGINT PRIMARY KEY,
    "time" DOUBLE PRECISION NOT NULL,
    author TEXT NOT NULL,
    origin TEXT NOT NULL,
    note TEXT NOT NULL,
    hash TEXT NOT NULL,
    text TEXT NOT NULL
);

CREATE INDEX config_revisions_by_hash ON config_revisions (hash);

-- The hash of what each gateway's config file held when it was last read or written, by host and path.
CREATE TABLE config_files (
    place TEXT PRIMARY KEY,
    hash TEXT NOT NULL
);
