-- A store of schema 9 as a daemon left it.
PRAGMA user_version = 9;
BEGIN TRANSACTION;
CREATE TABLE aggregates (
    domain_id INTEGER NOT NULL,
    label     TEXT NOT NULL,
    kind      TEXT NOT NULL,
    value     TEXT NOT NULL,
    metric    INTEGER NOT NULL,
    n         INTEGER NOT NULL,
    PRIMARY KEY (domain_id, label, kind, value, metric)
) WITHOUT ROWID;
INSERT INTO "aggregates" VALUES(1,'','country','DE',8,1);
CREATE TABLE allowlist (
    domain_id  INTEGER NOT NULL,
    value      TEXT NOT NULL,   -- an address, or '@' and a domain
    reason     TEXT NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (domain_id, value)
) WITHOUT ROWID;
INSERT INTO "allowlist" VALUES(1,'@b.example','ours',1700000000.0);
CREATE TABLE api_keys (
    id         INTEGER PRIMARY KEY,
    domain_id  INTEGER REFERENCES domains ON DELETE CASCADE,  -- NULL: the account's
    name       TEXT NOT NULL,
    hash       BLOB NOT NULL UNIQUE,      -- SHA-256 of a key of 128 random bits or more
    created_at REAL NOT NULL
);
INSERT INTO "api_keys" VALUES(1,NULL,'main',X'01',1700000000.0);
INSERT INTO "api_keys" VALUES(2,2,'of c',X'02',1700000000.0);
CREATE TABLE bodies (
    message_id INTEGER PRIMARY KEY,
    content    BLOB NOT NULL
);
INSERT INTO "bodies" VALUES(256194799206400000,'Text');
INSERT INTO "bodies" VALUES(256194799206402000,X'54E96C65');
CREATE TABLE bounces (
    domain_id  INTEGER NOT NULL,
    address    TEXT NOT NULL,
    code       TEXT NOT NULL,
    error      TEXT NOT NULL,
    rule       TEXT NOT NULL,   -- of bounces.toml that caused it; '' entered by a person
    created_at REAL NOT NULL,
    PRIMARY KEY (domain_id, address)
) WITHOUT ROWID;
INSERT INTO "bounces" VALUES(1,'gone@b.example','5.1.1','550 no','user-unknown',1700000000.0);
CREATE TABLE captured (
    id           INTEGER PRIMARY KEY,
    captured_at  REAL NOT NULL,
    message_id   INTEGER NOT NULL,
    reverse_path TEXT NOT NULL,
    recipients   TEXT NOT NULL,           -- JSON array
    content      BLOB NOT NULL
);
INSERT INTO "captured" VALUES(256194799206404000,1700000000.0,256194799206400000,'ann@a.example','["bob@b.example"]','Text');
CREATE TABLE complaints (
    domain_id  INTEGER NOT NULL,
    address    TEXT NOT NULL,
    count      INTEGER NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (domain_id, address)
) WITHOUT ROWID;
INSERT INTO "complaints" VALUES(1,'angry@b.example',2,1700000000.0);
CREATE TABLE counters (
    domain_id INTEGER NOT NULL,
    label     TEXT NOT NULL,
    metric    INTEGER NOT NULL,  -- mail/metric.py
    hour      INTEGER NOT NULL,  -- epoch hours
    n         INTEGER NOT NULL,
    PRIMARY KEY (domain_id, label, metric, hour)
) WITHOUT ROWID;
INSERT INTO "counters" VALUES(1,'',2,472222,1);
CREATE TABLE credentials (
    id         INTEGER PRIMARY KEY,
    domain_id  INTEGER NOT NULL REFERENCES domains ON DELETE CASCADE,
    login      TEXT NOT NULL UNIQUE,
    hash       TEXT NOT NULL,             -- argon2id
    created_at REAL NOT NULL
);
INSERT INTO "credentials" VALUES(1,1,'ann@a.example','$argon2id$x',1700000000.0);
CREATE TABLE dkim_keys (
    id         INTEGER PRIMARY KEY,
    domain_id  INTEGER NOT NULL REFERENCES domains ON DELETE CASCADE,
    selector   TEXT NOT NULL,
    algorithm  TEXT NOT NULL,             -- rsa-sha256, ed25519-sha256
    private    BLOB NOT NULL,             -- PEM, PKCS #8
    record     TEXT NOT NULL,             -- the TXT record at selector._domainkey
    created_at REAL NOT NULL, active INTEGER NOT NULL DEFAULT 1,
    UNIQUE (domain_id, selector)
);
INSERT INTO "dkim_keys" VALUES(1,1,'mtad1','rsa-sha256',X'2D2D','v=DKIM1; p=',1700000000.0,1);
CREATE TABLE dns_checks (
    domain_id INTEGER NOT NULL REFERENCES domains ON DELETE CASCADE,
    type      TEXT NOT NULL,
    name      TEXT NOT NULL,
    value     TEXT NOT NULL,
    valid     TEXT NOT NULL,   -- valid, invalid, unknown
    settled   TEXT NOT NULL,   -- valid or invalid when DNS last answered; '' never
    found     TEXT NOT NULL,   -- JSON array
    why       TEXT NOT NULL,
    PRIMARY KEY (domain_id, type, name, value)
) WITHOUT ROWID;
INSERT INTO "dns_checks" VALUES(1,'TXT','a.example','v=spf1 -all','invalid','invalid','["v=spf1 +all"]','another one is there');
CREATE TABLE domains (
    id         INTEGER PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,      -- lower case, A-labels
    created_at REAL NOT NULL,
    pool       TEXT NOT NULL DEFAULT '',  -- of source addresses; '' is all of them
    dsn        INTEGER NOT NULL DEFAULT 1,
    paused_why TEXT                       -- NULL: not paused
, opens INTEGER NOT NULL DEFAULT 0, clicks TEXT NOT NULL DEFAULT 'no', pixel_top INTEGER NOT NULL DEFAULT 0, footer INTEGER NOT NULL DEFAULT 0, footer_html TEXT, footer_text TEXT, web_scheme TEXT NOT NULL DEFAULT 'http', web_prefix TEXT NOT NULL DEFAULT 'email', web_cname INTEGER NOT NULL DEFAULT 0, require_tls INTEGER NOT NULL DEFAULT 0, skip_verification INTEGER NOT NULL DEFAULT 0, hourly_limit INTEGER NOT NULL DEFAULT 0, spam_action TEXT NOT NULL DEFAULT 'disabled', wildcard INTEGER NOT NULL DEFAULT 0, is_disabled INTEGER NOT NULL DEFAULT 0, own_dkim INTEGER NOT NULL DEFAULT 1, checked_at REAL);
INSERT INTO "domains" VALUES(1,'a.example',1700000000.0,'news',0,'unpaid',1,'htmlonly',0,1,NULL,NULL,'http','go',1,1,0,300,'tag',1,0,0,1700000000.0);
INSERT INTO "domains" VALUES(2,'c.example',1700000000.0,'',1,NULL,0,'no',0,0,NULL,NULL,'http','email',0,0,0,0,'disabled',0,0,1,NULL);
CREATE TABLE event_files (
    event_id INTEGER NOT NULL,
    place    INTEGER NOT NULL,
    name     TEXT NOT NULL,
    type     TEXT NOT NULL,
    content  BLOB NOT NULL,
    PRIMARY KEY (event_id, place)
) WITHOUT ROWID;
INSERT INTO "event_files" VALUES(256194799206400006,0,'report.txt','text/plain','no');
CREATE TABLE events (
    id           INTEGER PRIMARY KEY,
    type         INTEGER NOT NULL,
    domain_id    INTEGER NOT NULL,
    message_id   INTEGER,
    recipient_id INTEGER,
    detail       BLOB                     -- JSON: what this event alone knows
);
INSERT INTO "events" VALUES(256194799206400003,1,1,256194799206400000,256194799206400001,NULL);
INSERT INTO "events" VALUES(256194799206400004,1,1,256194799206400000,256194799206400002,NULL);
INSERT INTO "events" VALUES(256194799206400005,2,1,256194799206400000,256194799206400001,'{"delivery-status":{"code":250}}');
INSERT INTO "events" VALUES(256194799206400006,3,1,256194799206400000,256194799206400002,'{"severity":"temporary"}');
INSERT INTO "events" VALUES(256194799206401002,1,1,256194799206401000,256194799206401001,NULL);
INSERT INTO "events" VALUES(256194799206402002,1,2,256194799206402000,256194799206402001,NULL);
INSERT INTO "events" VALUES(256194799206403000,5,2,NULL,NULL,'{"reject":{"reason":"generic"}}');
CREATE TABLE firsts (
    recipient_id INTEGER NOT NULL,
    type         INTEGER NOT NULL,
    PRIMARY KEY (recipient_id, type)
) WITHOUT ROWID;
INSERT INTO "firsts" VALUES(256194799206400001,8);
CREATE TABLE idempotency (
    domain_id  INTEGER NOT NULL,
    digest     BLOB NOT NULL,     -- of the key as the caller gave it
    message_id INTEGER NOT NULL,  -- of messages
    answer     BLOB NOT NULL,     -- JSON, as it was sent
    created_at REAL NOT NULL,
    PRIMARY KEY (domain_id, digest)
) WITHOUT ROWID;
INSERT INTO "idempotency" VALUES(1,X'0A',256194799206400000,'{}',1700000000.0);
CREATE TABLE lookups (
    span INTEGER NOT NULL,
    key  INTEGER NOT NULL,   -- of domain, kind and text
    id   INTEGER NOT NULL,   -- of recipients, messages or events, by kind
    PRIMARY KEY (span, key, id)
) WITHOUT ROWID;
INSERT INTO "lookups" VALUES(11,42,256194799206400001);
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
, options BLOB, header BLOB);
INSERT INTO "messages" VALUES(256194799206400000,1,'ann@a.example',4,2,0,NULL,NULL,NULL,'{"subject":"one"}','{"tags":["news"]}','From: ann@a.example');
INSERT INTO "messages" VALUES(256194799206401000,1,'',70000,1,64,1700003600.0,3,0,'{"subject":"two"}',NULL,NULL);
INSERT INTO "messages" VALUES(256194799206402000,2,'cy@c.example',4,1,2,NULL,NULL,NULL,'{"subject":"three"}',NULL,NULL);
CREATE TABLE outbox (
    id       INTEGER PRIMARY KEY,
    lane     INTEGER NOT NULL,   -- webhooks.id
    event_id INTEGER NOT NULL,
    state    INTEGER NOT NULL,   -- 0 waiting, 1 done, 2 given up, 3 refused by the receiver
    attempts INTEGER NOT NULL,
    due_at   REAL
);
INSERT INTO "outbox" VALUES(256194799206405000,5,256194799206400005,0,1,1700000600.0);
CREATE TABLE outbox_attempts (
    id       INTEGER PRIMARY KEY, -- grows with time
    post_id  INTEGER NOT NULL,
    url      TEXT NOT NULL,      -- without a password
    status   INTEGER,            -- NULL: no answer
    error    TEXT,
    took_s   REAL NOT NULL,
    request  BLOB                -- what was posted, compressed
);
INSERT INTO "outbox_attempts" VALUES(256194799206405001,256194799206405000,'http://x.example/',500,NULL,0.1,X'00');
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
, personal BLOB);
INSERT INTO "recipients" VALUES(256194799206400001,256194799206400000,1,77,'bob@b.example',2,1,0,NULL,NULL,NULL,NULL,NULL,'{"name":"Bob"}');
INSERT INTO "recipients" VALUES(256194799206400002,256194799206400000,1,77,'eve@b.example',0,3,1,1700000900.0,1700028800.0,'451 4.3.0 later','FAILURE','rfc822;eve@b.example',NULL);
INSERT INTO "recipients" VALUES(256194799206401001,256194799206401000,1,0,'tom@d.example',0,0,0,1700003600.0,1700032400.0,NULL,NULL,NULL,NULL);
INSERT INTO "recipients" VALUES(256194799206402001,256194799206402000,2,77,'pat@b.example',1,1,0,NULL,1700028800.0,NULL,NULL,NULL,NULL);
CREATE TABLE routes (
    id          INTEGER PRIMARY KEY,
    priority    INTEGER NOT NULL,  -- lower ones are looked at first
    description TEXT NOT NULL,
    expression  TEXT NOT NULL,     -- as it was given
    actions     TEXT NOT NULL,     -- JSON array of texts as they were given
    created_at  REAL NOT NULL
);
INSERT INTO "routes" VALUES(256194799206406000,1,'all','catch_all()','["stop()"]',1700000000.0);
CREATE TABLE settings (
    name  TEXT PRIMARY KEY,  -- token-key, signing-key
    value BLOB NOT NULL
) WITHOUT ROWID;
INSERT INTO "settings" VALUES('signing-key',X'BB');
INSERT INTO "settings" VALUES('token-key',X'AA');
CREATE TABLE sites (
    id              INTEGER PRIMARY KEY,  -- from the key (storage/sites.py): no look-up needed
    key             TEXT NOT NULL UNIQUE,
    next_due        REAL,
    suspended_until REAL,                 -- by an operator or a reply rule
    suspended_why   TEXT,
    paces           TEXT NOT NULL DEFAULT '{}'  -- what we learnt of its pace: source address -> state
);
INSERT INTO "sites" VALUES(0,'?',NULL,NULL,NULL,'{}');
INSERT INTO "sites" VALUES(77,'mx.b.example',1700000000.0,NULL,'maintenance','{"": "{}"}');
CREATE TABLE spool_segments (
    segment INTEGER PRIMARY KEY,
    live    INTEGER NOT NULL              -- octets that messages still need
);
INSERT INTO "spool_segments" VALUES(3,70000);
CREATE TABLE stored (
    id         INTEGER PRIMARY KEY,  -- grows with time
    key        TEXT NOT NULL UNIQUE, -- random: in URLs
    domain_id  INTEGER NOT NULL,     -- of ours, that it came to
    message_id INTEGER NOT NULL,
    recipients TEXT NOT NULL,        -- JSON array: as in RCPT
    sender     TEXT NOT NULL,        -- as in MAIL
    stored_at  REAL NOT NULL
);
INSERT INTO "stored" VALUES(256194799206406000,'k3y',1,256194799206400000,'["sales@a.example"]','bob@b.example',1700000000.0);
CREATE TABLE tags (
    domain_id   INTEGER NOT NULL,
    tag         TEXT NOT NULL,   -- lower case
    shown       TEXT NOT NULL,   -- as first spelt
    description TEXT NOT NULL DEFAULT '',
    first_at    REAL NOT NULL,
    last_at     REAL NOT NULL,
    PRIMARY KEY (domain_id, tag)
) WITHOUT ROWID;
INSERT INTO "tags" VALUES(1,'news','News','',1700000000.0,1700000000.0);
CREATE TABLE template_versions (
    id          INTEGER PRIMARY KEY,
    template_id INTEGER NOT NULL REFERENCES templates ON DELETE CASCADE,
    tag         TEXT NOT NULL,       -- lower case
    content     TEXT NOT NULL,       -- Handlebars
    headers     TEXT NOT NULL,       -- JSON: texts by name, Handlebars too
    comment     TEXT NOT NULL,
    active      INTEGER NOT NULL,    -- 1: used when no version is named
    created_at  REAL NOT NULL,
    UNIQUE (template_id, tag)
);
INSERT INTO "template_versions" VALUES(256194799206405002,256194799206405000,'v1','Hello {{name}}','{"Subject": "Hello"}','first',1,1700000000.0);
INSERT INTO "template_versions" VALUES(256194799206405003,256194799206405000,'v2','Hi {{name}}','{}','',0,1700000000.0);
CREATE TABLE templates (
    id          INTEGER PRIMARY KEY,
    domain_id   INTEGER REFERENCES domains ON DELETE CASCADE,
    name        TEXT NOT NULL,       -- lower case
    description TEXT NOT NULL,
    created_at  REAL NOT NULL,
    created_by  TEXT NOT NULL
);
INSERT INTO "templates" VALUES(256194799206405000,1,'welcome','for new ones',1700000000.0,'main');
INSERT INTO "templates" VALUES(256194799206405001,NULL,'footer','',1700000000.0,'');
CREATE TABLE unsubscribes (
    domain_id  INTEGER NOT NULL,
    address    TEXT NOT NULL,
    tag        TEXT NOT NULL,   -- lower case; '*' is all mail of the domain
    created_at REAL NOT NULL,
    PRIMARY KEY (domain_id, address, tag)
) WITHOUT ROWID;
INSERT INTO "unsubscribes" VALUES(1,'tired@b.example','*',1700000000.0);
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
INSERT INTO "webhooks" VALUES(5,1,'delivered','http://x.example/',0,NULL,1700000000.0);
CREATE INDEX sites_due ON sites (next_due) WHERE next_due IS NOT NULL;
CREATE INDEX recipients_waiting ON recipients (site_id, domain_id, due_at, expire_at) WHERE state = 0;
CREATE INDEX recipients_leased ON recipients (state) WHERE state = 1;
CREATE INDEX events_recipient ON events (recipient_id) WHERE recipient_id IS NOT NULL;
CREATE INDEX bounces_rule ON bounces (rule, created_at) WHERE rule <> '';
CREATE INDEX outbox_waiting ON outbox (lane, due_at) WHERE state = 0;
CREATE INDEX outbox_event ON outbox (event_id);
CREATE INDEX outbox_attempts_post ON outbox_attempts (post_id);
CREATE INDEX counters_hour ON counters (hour);
CREATE INDEX routes_order ON routes (priority, id);
CREATE INDEX idempotency_created ON idempotency (created_at);
CREATE INDEX events_domain ON events (domain_id, type);
CREATE UNIQUE INDEX templates_name ON templates (ifnull(domain_id, 0), name);
CREATE INDEX templates_domain ON templates (domain_id);
CREATE UNIQUE INDEX template_versions_active ON template_versions (template_id) WHERE active = 1;
CREATE INDEX unsubscribes_created ON unsubscribes (domain_id, created_at, address, tag);
CREATE INDEX stored_message ON stored (message_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('webhooks',5);
COMMIT;
