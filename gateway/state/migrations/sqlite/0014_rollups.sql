-- What the log is filtered by, and what sums compare. `facet` is the receipt's combination of dimensions.
ALTER TABLE receipts ADD COLUMN reason TEXT;
ALTER TABLE receipts ADD COLUMN ttft_us INTEGER;
ALTER TABLE receipts ADD COLUMN tpot_us INTEGER;
ALTER TABLE receipts ADD COLUMN e2e_us INTEGER;
ALTER TABLE receipts ADD COLUMN dearest_nano INTEGER;
ALTER TABLE receipts ADD COLUMN list_nano INTEGER;
ALTER TABLE receipts ADD COLUMN spilled INTEGER NOT NULL DEFAULT 0;
ALTER TABLE receipts ADD COLUMN fresh_input_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE receipts ADD COLUMN cached_input_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE receipts ADD COLUMN cache_write_5m_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE receipts ADD COLUMN cache_write_1h_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE receipts ADD COLUMN audio_input_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE receipts ADD COLUMN image_input_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE receipts ADD COLUMN output_text_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE receipts ADD COLUMN reasoning_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE receipts ADD COLUMN audio_output_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE receipts ADD COLUMN facet INTEGER;
UPDATE receipts SET
    reason = json_extract(body, '$.reason'),
    ttft_us = json_extract(body, '$.ttft_us'),
    tpot_us = json_extract(body, '$.tpot_us'),
    e2e_us = json_extract(body, '$.e2e_us'),
    dearest_nano = json_extract(body, '$.dearest_nano'),
    fresh_input_nano = coalesce(json_extract(body, '$.cost.fresh_input'), 0),
    cached_input_nano = coalesce(json_extract(body, '$.cost.cached_input'), 0),
    cache_write_5m_nano = coalesce(json_extract(body, '$.cost.cache_write_5m'), 0),
    cache_write_1h_nano = coalesce(json_extract(body, '$.cost.cache_write_1h'), 0),
    audio_input_nano = coalesce(json_extract(body, '$.cost.audio_input'), 0),
    image_input_nano = coalesce(json_extract(body, '$.cost.image_input'), 0),
    output_text_nano = coalesce(json_extract(body, '$.cost.output_text'), 0),
    reasoning_nano = coalesce(json_extract(body, '$.cost.reasoning'), 0),
    audio_output_nano = coalesce(json_extract(body, '$.cost.audio_output'), 0)
WHERE json_valid(body);

DROP INDEX receipts_by_time;
CREATE INDEX receipts_log ON receipts (
    time, facet, status, reason, nano_usd, e2e_us, ttft_us, cached, estimated, unpriced
);
CREATE INDEX receipts_by_facet ON receipts (facet, time);

-- Combinations of dimensions; `dims` is one as JSON, after its cube's name. Those of the whole cube name the facets
-- that they are part of in smaller cubes.
CREATE TABLE facets (
    id INTEGER PRIMARY KEY,
    dims TEXT NOT NULL UNIQUE,
    key TEXT,
    team TEXT,
    user TEXT,
    tags TEXT,
    route TEXT,
    deployment TEXT,
    provider TEXT,
    model TEXT,
    sensitivity TEXT,
    callers INTEGER,
    sites INTEGER,
    places INTEGER,
    people INTEGER,
    work INTEGER
) STRICT;

-- Sums of receipts by slot of time (its start) and facet; `level` says which cube and which length of slot.
CREATE TABLE rollups (
    level INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    facet INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    cached INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    spilled INTEGER NOT NULL,
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
    estimated_nano INTEGER NOT NULL,
    fresh_input_nano INTEGER NOT NULL,
    cached_input_nano INTEGER NOT NULL,
    cache_write_5m_nano INTEGER NOT NULL,
    cache_write_1h_nano INTEGER NOT NULL,
    audio_input_nano INTEGER NOT NULL,
    image_input_nano INTEGER NOT NULL,
    output_text_nano INTEGER NOT NULL,
    reasoning_nano INTEGER NOT NULL,
    audio_output_nano INTEGER NOT NULL,
    compared INTEGER NOT NULL,
    dearest_nano INTEGER NOT NULL,
    dearest_paid_nano INTEGER NOT NULL,
    listed INTEGER NOT NULL,
    list_nano INTEGER NOT NULL,
    list_paid_nano INTEGER NOT NULL,
    PRIMARY KEY (level, slot, facet)
) STRICT, WITHOUT ROWID;

-- Hours and days whose sums are still to be folded from quarters, or again.
CREATE TABLE rollups_stale (
    grain INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    PRIMARY KEY (grain, slot)
) STRICT, WITHOUT ROWID;
