-- Old versions, bulk exports, subscriptions, and what searches of the FHIR API need besides.

-- What scopes narrow by, of each version: the index below knows the latest only (access/filters.py).
ALTER TABLE resource_version ADD COLUMN scoped text[] NOT NULL DEFAULT '{}';

-- Until when the type's own date lasts: a search by it asks the resource alone, in the order of an index.
ALTER TABLE resource ADD COLUMN happened_end timestamptz;
UPDATE resource SET happened_end = (SELECT max(high) FROM index_date WHERE index_date.key = resource.key
                                       AND index_date.low = resource.happened)
 WHERE happened IS NOT NULL;

-- The oldest first: the index of 0001 has nulls at the wrong end for that.
CREATE INDEX resource_type_oldest ON resource (type, happened, key);

-- The log of many patients, newest first: pages of a search of AuditEvents.
CREATE INDEX audit_event_newest ON audit_event (at DESC, id);

-- Composite search parameters: values of the same element, side by side. The letter says which index the columns are
-- like: f and t tokens, s strings, d dates, q quantities, r references.
CREATE TABLE index_composite (
    patient_id text NOT NULL,
    key        bigint NOT NULL REFERENCES resource (key) ON DELETE CASCADE,
    param      text NOT NULL,
    f_code text, f_system text,
    t_code text, t_system text,
    s_folded text, s_value text,
    d_low timestamptz, d_high timestamptz,
    q_low numeric, q_high numeric, q_system text, q_code text, q_unit text,
    r_target_type text, r_target_id text, r_base text
);
CREATE INDEX index_composite_value ON index_composite (param, f_code, key);
CREATE INDEX index_composite_key ON index_composite (key, param);

-- An export copies no data: it keeps which version of which resource belongs to each file. A download reads them with
-- the reach of whoever downloads, so that what was shared no longer is in no file any more.
CREATE TABLE export (
    id               uuid PRIMARY KEY,
    client_id        text REFERENCES client ON DELETE CASCADE,
    account_id       uuid REFERENCES account ON DELETE CASCADE,
    asked            bytea NOT NULL,               -- who asks for what: sealed, for it names patients
    state            text NOT NULL CHECK (state IN ('accepted', 'complete', 'failed')),
    transaction_time timestamptz NOT NULL,         -- nothing is in it that changed after this moment
    after_xid        bigint NOT NULL,              -- what was being written then is waited for
    done             integer NOT NULL DEFAULT 0,   -- steps
    steps            integer NOT NULL DEFAULT 0,
    last_key         bigint NOT NULL DEFAULT 0,    -- of the step under way
    problem          text NOT NULL DEFAULT '',
    created_at       timestamptz NOT NULL,
    expires_at       timestamptz NOT NULL
);
CREATE INDEX export_expires ON export (expires_at);
CREATE INDEX export_open ON export (client_id, account_id) WHERE state = 'accepted';

CREATE TABLE export_row (
    export_id uuid NOT NULL REFERENCES export ON DELETE CASCADE,
    type      text NOT NULL,
    deleted   boolean NOT NULL,
    key       bigint NOT NULL REFERENCES resource (key) ON DELETE CASCADE,
    version   integer NOT NULL,
    PRIMARY KEY (export_id, deleted, type, key)
);
CREATE INDEX export_row_key ON export_row (key);

-- Topic-based subscriptions. The Subscription resource beside it says what was asked for; this is what it does.
CREATE TABLE subscription (
    id            text PRIMARY KEY,                -- FHIR id of the Subscription
    client_id     text REFERENCES client ON DELETE CASCADE,
    account_id    uuid REFERENCES account ON DELETE CASCADE,
    actor         bytea NOT NULL,                  -- who subscribed, with what scopes: sealed
    secret        bytea NOT NULL,                  -- the headers of the channel: sealed
    topic         text NOT NULL,                   -- the type whose changes it hears of
    state         text NOT NULL CHECK (state IN ('requested', 'active', 'error', 'off')),
    problem       text NOT NULL DEFAULT '',        -- what kind of failure the last one was; no content
    failures      integer NOT NULL DEFAULT 0,      -- in a row
    last_event    bigint NOT NULL DEFAULT 0,
    heartbeat     integer,                         -- seconds
    sent_at       timestamptz,
    ends_at       timestamptz,
    patients      text[],                          -- the only ones it can hear of; null: whoever is in reach
    created_at    timestamptz NOT NULL
);
CREATE INDEX subscription_topic ON subscription (topic) WHERE state <> 'off';
CREATE INDEX subscription_heartbeat ON subscription (sent_at) WHERE heartbeat IS NOT NULL AND state = 'active';

CREATE TABLE subscription_event (
    subscription_id text NOT NULL REFERENCES subscription ON DELETE CASCADE,
    number          bigint NOT NULL,
    patient_id      text NOT NULL REFERENCES patient ON DELETE CASCADE,
    type            text NOT NULL,
    id              text NOT NULL,
    version         integer NOT NULL,
    at              timestamptz NOT NULL,
    PRIMARY KEY (subscription_id, number),
    UNIQUE (subscription_id, type, id, version)
);
CREATE INDEX subscription_event_patient ON subscription_event (patient_id);
CREATE INDEX subscription_event_at ON subscription_event (at);
