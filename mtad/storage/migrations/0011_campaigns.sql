-- Campaigns: names under which mail of a domain is counted and looked at. number: never given twice, so that what is
-- left of a campaign that is gone belongs to no other.
CREATE TABLE campaigns (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    domain_id  INTEGER NOT NULL REFERENCES domains ON DELETE CASCADE,
    id         TEXT NOT NULL,      -- in messages and paths; may be changed
    name       TEXT NOT NULL,
    created_at REAL NOT NULL,
    UNIQUE (domain_id, id)
);

-- What became of their mail: a copy, as it outlives message and event. Written in the transaction of the event; each
-- campaign has a run for each word, and new rows go to its end.
CREATE TABLE campaign_events (
    campaign  INTEGER NOT NULL,    -- campaigns.number
    word      INTEGER NOT NULL,    -- storage/campaign_events.py
    id        INTEGER NOT NULL,    -- of events
    recipient TEXT NOT NULL COLLATE NOCASE,
    domain    TEXT NOT NULL,       -- of the recipient
    country   TEXT,                -- NULL: not known
    region    TEXT,
    city      TEXT,
    ip        TEXT,
    link      TEXT,
    counted   INTEGER NOT NULL,    -- 0: a program did it, so it is not unique
    options   BLOB,                -- JSON: the message's, NULL: it has neither tags nor data of the sender's
    personal  BLOB,                -- JSON: the recipient's, where the data asks for it
    PRIMARY KEY (campaign, word, id)
) WITHOUT ROWID;
-- What a recipient did, and how many did; to whom mail was delivered is found by the events themselves.
CREATE INDEX campaign_events_recipient ON campaign_events (campaign, recipient, counted) WHERE word <> 2;

-- How much was sent and delivered, by the hour and the recipients' domain: that is told longer than each one is.
CREATE TABLE campaign_counts (
    campaign INTEGER NOT NULL,
    word     INTEGER NOT NULL,
    hour     INTEGER NOT NULL,     -- epoch hours
    domain   TEXT NOT NULL,
    n        INTEGER NOT NULL,
    PRIMARY KEY (campaign, word, hour, domain)
) WITHOUT ROWID;
CREATE INDEX campaign_counts_hour ON campaign_counts (hour);
