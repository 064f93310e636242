-- What people changed: who, what was done to which object, and the object before and after. json and not jsonb, for the
-- reasons that receipts have.
CREATE TABLE audit (
    id text COLLATE "C" PRIMARY KEY,
    "time" double precision NOT NULL,
    who text COLLATE "C" NOT NULL,
    role text COLLATE "C" NOT NULL,
    team text COLLATE "C",
    what text COLLATE "C" NOT NULL,
    object text COLLATE "C" NOT NULL,
    before json,
    after json
);

CREATE INDEX audit_by_time ON audit ("time", id);
