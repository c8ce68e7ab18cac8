-- A store of schema 1 as a daemon left it.
PRAGMA user_version = 1;
BEGIN TRANSACTION;
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
CREATE TABLE captured (
    id           INTEGER PRIMARY KEY,
    captured_at  REAL NOT NULL,
    message_id   INTEGER NOT NULL,
    reverse_path TEXT NOT NULL,
    recipients   TEXT NOT NULL,           -- JSON array
    content      BLOB NOT NULL
);
INSERT INTO "captured" VALUES(256194799206404000,1700000000.0,256194799206400000,'ann@a.example','["bob@b.example"]','Text');
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
    created_at REAL NOT NULL,
    UNIQUE (domain_id, selector)
);
INSERT INTO "dkim_keys" VALUES(1,1,'mtad1','rsa-sha256',X'2D2D','v=DKIM1; p=',1700000000.0);
CREATE TABLE domains (
    id         INTEGER PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,      -- lower case, A-labels
    created_at REAL NOT NULL,
    pool       TEXT NOT NULL DEFAULT '',  -- of source addresses; '' is all of them
    dsn        INTEGER NOT NULL DEFAULT 1,
    paused_why TEXT                       -- NULL: not paused
);
INSERT INTO "domains" VALUES(1,'a.example',1700000000.0,'news',0,'unpaid');
INSERT INTO "domains" VALUES(2,'c.example',1700000000.0,'',1,NULL);
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
INSERT INTO "messages" VALUES(256194799206400000,1,'ann@a.example',4,2,0,NULL,NULL,NULL,'{"subject":"one"}');
INSERT INTO "messages" VALUES(256194799206401000,1,'',70000,1,64,1700003600.0,3,0,'{"subject":"two"}');
INSERT INTO "messages" VALUES(256194799206402000,2,'cy@c.example',4,1,2,NULL,NULL,NULL,'{"subject":"three"}');
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
INSERT INTO "recipients" VALUES(256194799206400001,256194799206400000,1,77,'bob@b.example',2,1,0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "recipients" VALUES(256194799206400002,256194799206400000,1,77,'eve@b.example',0,3,1,1700000900.0,1700028800.0,'451 4.3.0 later','FAILURE','rfc822;eve@b.example');
INSERT INTO "recipients" VALUES(256194799206401001,256194799206401000,1,0,'tom@d.example',0,0,0,1700003600.0,1700032400.0,NULL,NULL,NULL);
INSERT INTO "recipients" VALUES(256194799206402001,256194799206402000,2,77,'pat@b.example',1,1,0,NULL,1700028800.0,NULL,NULL,NULL);
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
CREATE INDEX sites_due ON sites (next_due) WHERE next_due IS NOT NULL;
CREATE INDEX recipients_waiting ON recipients (site_id, domain_id, due_at, expire_at) WHERE state = 0;
CREATE INDEX recipients_leased ON recipients (state) WHERE state = 1;
CREATE INDEX events_recipient ON events (recipient_id) WHERE recipient_id IS NOT NULL;
COMMIT;
