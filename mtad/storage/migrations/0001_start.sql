-- Points in time are epoch seconds (UTC). Ids of messages, recipients and events grow with time (mail/ids.py).

CREATE TABLE domains (
    id         INTEGER PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,      -- lower case, A-labels
    created_at REAL NOT NULL,
    pool       TEXT NOT NULL DEFAULT '',  -- of source addresses; '' is all of them
    dsn        INTEGER NOT NULL DEFAULT 1,
    paused_why TEXT                       -- NULL: not paused
);

CREATE TABLE credentials (
    id         INTEGER PRIMARY KEY,
    domain_id  INTEGER NOT NULL REFERENCES domains ON DELETE CASCADE,
    login      TEXT NOT NULL UNIQUE,
    hash       TEXT NOT NULL,             -- argon2id
    created_at REAL NOT NULL
);

CREATE TABLE api_keys (
    id         INTEGER PRIMARY KEY,
    domain_id  INTEGER REFERENCES domains ON DELETE CASCADE,  -- NULL: the account's
    name       TEXT NOT NULL,
    hash       BLOB NOT NULL UNIQUE,      -- SHA-256 of a key of 128 random bits or more
    created_at REAL NOT NULL
);

CREATE TABLE dkim_keys (
    id         INTEGER PRIMARY KEY,
    domain_id  INTEGER NOT NULL REFERENCES domains ON DELETE CASCADE,
    selector   TEXT NOT NULL,
    algorithm  TEXT NOT NULL,             -- rsa-sha256, ed25519-sha256
    private    BLOB NOT NULL,             -- PEM, PKCS #8
    record     TEXT NOT NULL,             -- the TXT record at selector._domainkey
    created_at REAL NOT NULL,
    UNIQUE (domain_id, selector)
);

-- One row per MX-site. next_due: when the scheduler must look at it; NULL: nothing waits for it, or the running
-- daemon has it in hand (at start the column is made anew from the waiting rows).
CREATE TABLE sites (
    id              INTEGER PRIMARY KEY,  -- from the key (storage/sites.py): no look-up needed
    key             TEXT NOT NULL UNIQUE,
    next_due        REAL,
    suspended_until REAL,                 -- by an operator or a reply rule
    suspended_why   TEXT,
    paces           TEXT NOT NULL DEFAULT '{}'  -- what we learnt of its pace: source address -> state
);
CREATE INDEX sites_due ON sites (next_due) WHERE next_due IS NOT NULL;
INSERT INTO sites (id, key) VALUES (0, '?');  -- domains whose MX-site is not known yet

CREATE TABLE messages (
    id              INTEGER PRIMARY KEY,
    domain_id       INTEGER NOT NULL,
    reverse_path    TEXT NOT NULL,        -- '' is the null path
    size            INTEGER NOT NULL,
    recipients      INTEGER NOT NULL,     -- how many: their ids are id + 1, id + 2, ...
    flags           INTEGER NOT NULL,
    deliver_at      REAL,
    segment         INTEGER,              -- spool file; NULL: the content is in bodies, or gone
    position        INTEGER,
    about           BLOB NOT NULL         -- JSON: headers, login, peer, what events and DSNs tell
);

CREATE TABLE bodies (
    message_id INTEGER PRIMARY KEY,
    content    BLOB NOT NULL
);

-- The queue, and what became of it. state: 0 waiting, 1 leased, 2 delivered, 3 failed.
CREATE TABLE recipients (
    id         INTEGER PRIMARY KEY,
    message_id INTEGER NOT NULL,
    domain_id  INTEGER NOT NULL,
    site_id    INTEGER NOT NULL,
    address    TEXT NOT NULL,
    state      INTEGER NOT NULL,
    attempts   INTEGER NOT NULL,          -- begun ones
    unknown    INTEGER NOT NULL DEFAULT 0,  -- those whose outcome we never learnt
    due_at     REAL,
    expire_at  REAL,
    last_reply TEXT,
    notify     TEXT,                      -- RFC 3461
    orcpt      TEXT
);
CREATE INDEX recipients_waiting ON recipients (site_id, domain_id, due_at, expire_at) WHERE state = 0;
CREATE INDEX recipients_leased ON recipients (state) WHERE state = 1;

CREATE TABLE events (
    id           INTEGER PRIMARY KEY,
    type         INTEGER NOT NULL,
    domain_id    INTEGER NOT NULL,
    message_id   INTEGER,
    recipient_id INTEGER,
    detail       BLOB                     -- JSON: what this event alone knows
);
CREATE INDEX events_recipient ON events (recipient_id) WHERE recipient_id IS NOT NULL;

CREATE TABLE captured (
    id           INTEGER PRIMARY KEY,
    captured_at  REAL NOT NULL,
    message_id   INTEGER NOT NULL,
    reverse_path TEXT NOT NULL,
    recipients   TEXT NOT NULL,           -- JSON array
    content      BLOB NOT NULL
);

CREATE TABLE spool_segments (
    segment INTEGER PRIMARY KEY,
    live    INTEGER NOT NULL              -- octets that messages still need
);
