-- What a provider keeps for a tenant: the id of an answer, of one of its items or of a conversation; no content.
CREATE TABLE kept_answers (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    deployment TEXT NOT NULL,
    sensitivity TEXT NOT NULL,
    time REAL NOT NULL
) STRICT;

CREATE INDEX kept_answers_by_time ON kept_answers (time);
