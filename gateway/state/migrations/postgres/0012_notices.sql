-- Notices that were made, each once; closed where nothing more is to be done for it.
CREATE TABLE notices (
    id TEXT PRIMARY KEY,
    body TEXT NOT NULL,
    "time" DOUBLE PRECISION NOT NULL,
    closed_at DOUBLE PRECISION
);
