-- What people changed: who, what was done to which object, and the object before and after as JSON.
CREATE TABLE audit (
    id TEXT PRIMARY KEY,
    time REAL NOT NULL,
    who TEXT NOT NULL,
    role TEXT NOT NULL,
    team TEXT,
    what TEXT NOT NULL,
    object TEXT NOT NULL,
    before TEXT,
    after TEXT
) STRICT;

CREATE INDEX audit_by_time ON audit (time, id);
