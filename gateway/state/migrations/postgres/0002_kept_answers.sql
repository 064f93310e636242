-- What a provider keeps for a tenant: the id of an answer, of one of its items or of a conversation; no content.
CREATE TABLE kept_answers (
    id text COLLATE "C" PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    deployment text COLLATE "C" NOT NULL,
    sensitivity text COLLATE "C" NOT NULL,
    "time" double precision NOT NULL
);

CREATE INDEX kept_answers_by_time ON kept_answers ("time");
