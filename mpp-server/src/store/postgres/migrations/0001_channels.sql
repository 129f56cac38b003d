-- `record`, `entry` and `outcome` hold the stored form of the Rust types and are
-- what the server reads. The other columns repeat parts of them for queries
-- and reports; the server never reads those back.

CREATE TABLE {schema}.channels (
    id          bytea PRIMARY KEY CHECK (octet_length(id) = 32),
    version     bigint NOT NULL CHECK (version > 0),
    live        boolean NOT NULL,
    record      bytea NOT NULL,
    -- Stamps of the last commits, newest first, 16 bytes each.
    stamps      bytea NOT NULL,
    phase       text NOT NULL,
    payer       text NOT NULL,
    payee       text NOT NULL,
    token       text NOT NULL,
    -- Base units.
    deposit     numeric(39, 0) NOT NULL,
    accepted    numeric(39, 0) NOT NULL,
    spent       numeric(39, 0) NOT NULL,
    settled     numeric(39, 0) NOT NULL,
    units       numeric(20, 0) NOT NULL,
    opened_at   timestamptz NOT NULL,
    changed_at  timestamptz NOT NULL
    -- Every charge rewrites its row: room on the page keeps that cheap.
) WITH (fillfactor = 60);

CREATE INDEX channels_live ON {schema}.channels (id) WHERE live;

CREATE TABLE {schema}.ledger (
    number      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel     bytea NOT NULL,
    entry       bytea NOT NULL,
    kind        text NOT NULL,
    -- Base units.
    cost        numeric(39, 0) NOT NULL,
    units       numeric(20, 0) NOT NULL,
    at          timestamptz NOT NULL
);

CREATE INDEX ledger_channel ON {schema}.ledger (channel, number);

CREATE TABLE {schema}.outcomes (
    key         bytea PRIMARY KEY,
    channel     bytea NOT NULL,
    number      bigint NOT NULL,
    outcome     bytea NOT NULL,
    -- Milliseconds since 1970.
    expires     bigint NOT NULL
);

CREATE INDEX outcomes_channel ON {schema}.outcomes (channel, number);
CREATE INDEX outcomes_expires ON {schema}.outcomes (expires);

CREATE TABLE {schema}.claims (
    key         text PRIMARY KEY,
    value       bytea NOT NULL CHECK (octet_length(value) = 32),
    -- Stamp of the attempt that made the claim.
    stamp       bytea NOT NULL,
    -- Milliseconds since 1970.
    expires     bigint NOT NULL
);

CREATE INDEX claims_expires ON {schema}.claims (expires);
