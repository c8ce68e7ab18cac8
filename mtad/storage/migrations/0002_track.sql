-- Personalise, track, tell.

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,  -- token-key, signing-key
    value BLOB NOT NULL
) WITHOUT ROWID;

ALTER TABLE domains ADD COLUMN opens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE domains ADD COLUMN clicks TEXT NOT NULL DEFAULT 'no';      -- no, yes, htmlonly
ALTER TABLE domains ADD COLUMN pixel_top INTEGER NOT NULL DEFAULT 0;
ALTER TABLE domains ADD COLUMN footer INTEGER NOT NULL DEFAULT 0;      -- the unsubscribe footer
ALTER TABLE domains ADD COLUMN footer_html TEXT;                       -- NULL: the default text
ALTER TABLE domains ADD COLUMN footer_text TEXT;
ALTER TABLE domains ADD COLUMN web_scheme TEXT NOT NULL DEFAULT 'http';
ALTER TABLE domains ADD COLUMN web_prefix TEXT NOT NULL DEFAULT 'email';
ALTER TABLE domains ADD COLUMN web_cname INTEGER NOT NULL DEFAULT 0;   -- web_prefix.name is known to point at us
ALTER TABLE domains ADD COLUMN require_tls INTEGER NOT NULL DEFAULT 0;
ALTER TABLE domains ADD COLUMN skip_verification INTEGER NOT NULL DEFAULT 0;

ALTER TABLE messages ADD COLUMN options BLOB;    -- JSON (mail/options.py); NULL: none
ALTER TABLE messages ADD COLUMN header BLOB;     -- the header block as taken; NULL: nobody asked for it
ALTER TABLE recipients ADD COLUMN personal BLOB; -- JSON: name, variables, To of a recipient who gets his own copy

-- Suppressions: whom a domain does not write to any more. address: in the form for comparing (Address.key).
CREATE TABLE bounces (
    domain_id  INTEGER NOT NULL,
    address    TEXT NOT NULL,
    code       TEXT NOT NULL,
    error      TEXT NOT NULL,
    rule       TEXT NOT NULL,   -- of bounces.toml that caused it; '' entered by a person
    created_at REAL NOT NULL,
    PRIMARY KEY (domain_id, address)
) WITHOUT ROWID;
CREATE INDEX bounces_rule ON bounces (rule, created_at) WHERE rule <> '';

CREATE TABLE unsubscribes (
    domain_id  INTEGER NOT NULL,
    address    TEXT NOT NULL,
    tag        TEXT NOT NULL,   -- lower case; '*' is all mail of the domain
    created_at REAL NOT NULL,
    PRIMARY KEY (domain_id, address, tag)
) WITHOUT ROWID;

CREATE TABLE complaints (
    domain_id  INTEGER NOT NULL,
    address    TEXT NOT NULL,
    count      INTEGER NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (domain_id, address)
) WITHOUT ROWID;

CREATE TABLE allowlist (
    domain_id  INTEGER NOT NULL,
    value      TEXT NOT NULL,   -- an address, or '@' and a domain
    reason     TEXT NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (domain_id, value)
) WITHOUT ROWID;

-- Webhooks: where each kind of news of a domain is posted. name: an id of either family.
CREATE TABLE webhooks (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    domain_id  INTEGER NOT NULL REFERENCES domains ON DELETE CASCADE,
    name       TEXT NOT NULL,
    url        TEXT NOT NULL,
    place      INTEGER NOT NULL,
    paused_why TEXT,            -- NULL: not paused
    created_at REAL NOT NULL,
    UNIQUE (domain_id, name, url)
);

-- Posts that wait or were made. lane: posts of one lane wait for each other's receiver, not for anybody else's.
CREATE TABLE outbox (
    id       INTEGER PRIMARY KEY,
    lane     INTEGER NOT NULL,   -- webhooks.id
    event_id INTEGER NOT NULL,
    state    INTEGER NOT NULL,   -- 0 waiting, 1 done, 2 given up, 3 refused by the receiver
    attempts INTEGER NOT NULL,
    due_at   REAL
);
CREATE INDEX outbox_waiting ON outbox (lane, due_at) WHERE state = 0;
CREATE INDEX outbox_event ON outbox (event_id);

CREATE TABLE outbox_attempts (
    id       INTEGER PRIMARY KEY, -- grows with time
    post_id  INTEGER NOT NULL,
    url      TEXT NOT NULL,      -- without a password
    status   INTEGER,            -- NULL: no answer
    error    TEXT,
    took_s   REAL NOT NULL,
    request  BLOB                -- what was posted, compressed
);
CREATE INDEX outbox_attempts_post ON outbox_attempts (post_id);

-- Files that belong to an event: the parts of a bounce or complaint report.
CREATE TABLE event_files (
    event_id INTEGER NOT NULL,
    place    INTEGER NOT NULL,
    name     TEXT NOT NULL,
    type     TEXT NOT NULL,
    content  BLOB NOT NULL,
    PRIMARY KEY (event_id, place)
) WITHOUT ROWID;

-- Counted in the transactions of the events. label: '' all, 't:' and a tag in lower case, 'c:' and a campaign id.
CREATE TABLE counters (
    domain_id INTEGER NOT NULL,
    label     TEXT NOT NULL,
    metric    INTEGER NOT NULL,  -- mail/metric.py
    hour      INTEGER NOT NULL,  -- epoch hours
    n         INTEGER NOT NULL,
    PRIMARY KEY (domain_id, label, metric, hour)
) WITHOUT ROWID;
CREATE INDEX counters_hour ON counters (hour);

-- The same by where and with what: kind is country, provider or device.
CREATE TABLE aggregates (
    domain_id INTEGER NOT NULL,
    label     TEXT NOT NULL,
    kind      TEXT NOT NULL,
    value     TEXT NOT NULL,
    metric    INTEGER NOT NULL,
    n         INTEGER NOT NULL,
    PRIMARY KEY (domain_id, label, kind, value, metric)
) WITHOUT ROWID;

CREATE TABLE tags (
    domain_id   INTEGER NOT NULL,
    tag         TEXT NOT NULL,   -- lower case
    shown       TEXT NOT NULL,   -- as first spelt
    description TEXT NOT NULL DEFAULT '',
    first_at    REAL NOT NULL,
    last_at     REAL NOT NULL,
    PRIMARY KEY (domain_id, tag)
) WITHOUT ROWID;

-- What has been counted as unique: this recipient has opened (8), or clicked (9).
CREATE TABLE firsts (
    recipient_id INTEGER NOT NULL,
    type         INTEGER NOT NULL,
    PRIMARY KEY (recipient_id, type)
) WITHOUT ROWID;
