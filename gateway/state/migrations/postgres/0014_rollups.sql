-- What the log is filtered by, and what sums compare. `facet` is the receipt's combination of dimensions.
ALTER TABLE receipts
    ADD COLUMN reason text COLLATE "C",
    ADD COLUMN ttft_us bigint,
    ADD COLUMN tpot_us bigint,
    ADD COLUMN e2e_us bigint,
    ADD COLUMN dearest_nano bigint,
    ADD COLUMN list_nano bigint,
    ADD COLUMN spilled boolean NOT NULL DEFAULT false,
    ADD COLUMN fresh_input_nano bigint NOT NULL DEFAULT 0,
    ADD COLUMN cached_input_nano bigint NOT NULL DEFAULT 0,
    ADD COLUMN cache_write_5m_nano bigint NOT NULL DEFAULT 0,
    ADD COLUMN cache_write_1h_nano bigint NOT NULL DEFAULT 0,
    ADD COLUMN audio_input_nano bigint NOT NULL DEFAULT 0,
    ADD COLUMN image_input_nano bigint NOT NULL DEFAULT 0,
    ADD COLUMN output_text_nano bigint NOT NULL DEFAULT 0,
    ADD COLUMN reasoning_nano bigint NOT NULL DEFAULT 0,
    ADD COLUMN audio_output_nano bigint NOT NULL DEFAULT 0,
    ADD COLUMN facet bigint;
-- A body with an escaped NUL cannot be looked into.
UPDATE receipts SET
    reason = body ->> 'reason',
    ttft_us = (body ->> 'ttft_us')::bigint,
    tpot_us = (body ->> 'tpot_us')::bigint,
    e2e_us = (body ->> 'e2e_us')::bigint,
    dearest_nano = (body ->> 'dearest_nano')::bigint,
    fresh_input_nano = coalesce((body #>> '{cost,fresh_input}')::bigint, 0),
    cached_input_nano = coalesce((body #>> '{cost,cached_input}')::bigint, 0),
    cache_write_5m_nano = coalesce((body #>> '{cost,cache_write_5m}')::bigint, 0),
    cache_write_1h_nano = coalesce((body #>> '{cost,cache_write_1h}')::bigint, 0),
    audio_input_nano = coalesce((body #>> '{cost,audio_input}')::bigint, 0),
    image_input_nano = coalesce((body #>> '{cost,image_input}')::bigint, 0),
    output_text_nano = coalesce((body #>> '{cost,output_text}')::bigint, 0),
    reasoning_nano = coalesce((body #>> '{cost,reasoning}')::bigint, 0),
    audio_output_nano = coalesce((body #>> '{cost,audio_output}')::bigint, 0)
WHERE position('\u0000' IN body::text) = 0;

DROP INDEX receipts_by_time;
CREATE INDEX receipts_log ON receipts ("time", id);
CREATE INDEX receipts_by_facet ON receipts (facet, "time");

-- Combinations of dimensions; `dims` is one as JSON, after its cube's name. Those of the whole cube name the facets
-- that they are part of in smaller cubes.
CREATE TABLE facets (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dims text COLLATE "C" NOT NULL UNIQUE,
    "key" text COLLATE "C",
    team text COLLATE "C",
    "user" text COLLATE "C",
    tags jsonb,
    route text COLLATE "C",
    deployment text COLLATE "C",
    provider text COLLATE "C",
    model text COLLATE "C",
    sensitivity text COLLATE "C",
    callers bigint,
    sites bigint,
    places bigint,
    people bigint,
    work bigint
);

-- Sums of receipts by slot of time (its start) and facet; `level` says which cube and which length of slot. Rows of
-- the present quarter change with every batch: room beside them keeps their new versions on the same page.
CREATE TABLE rollups (
    level smallint NOT NULL,
    slot bigint NOT NULL,
    facet bigint NOT NULL,
    calls bigint NOT NULL,
    errors bigint NOT NULL,
    cached bigint NOT NULL,
    unpriced bigint NOT NULL,
    spilled bigint NOT NULL,
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
    estimated_nano bigint NOT NULL,
    fresh_input_nano bigint NOT NULL,
    cached_input_nano bigint NOT NULL,
    cache_write_5m_nano bigint NOT NULL,
    cache_write_1h_nano bigint NOT NULL,
    audio_input_nano bigint NOT NULL,
    image_input_nano bigint NOT NULL,
    output_text_nano bigint NOT NULL,
    reasoning_nano bigint NOT NULL,
    audio_output_nano bigint NOT NULL,
    compared bigint NOT NULL,
    dearest_nano bigint NOT NULL,
    dearest_paid_nano bigint NOT NULL,
    listed bigint NOT NULL,
    list_nano bigint NOT NULL,
    list_paid_nano bigint NOT NULL,
    PRIMARY KEY (level, slot, facet)
) WITH (fillfactor = 70);

-- Hours and days whose sums are still to be folded from quarters, or again.
CREATE TABLE rollups_stale (
    grain integer NOT NULL,
    slot bigint NOT NULL,
    PRIMARY KEY (grain, slot)
);
