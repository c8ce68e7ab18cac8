-- Mailing lists: addresses of ours that stand for those of their members. key: an address in the form for comparing.

CREATE TABLE lists (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice: what was counted of a list names it
    key              TEXT UNIQUE,       -- NULL: removed; the row goes when its last member is gone
    address          TEXT NOT NULL,     -- as written
    name             TEXT NOT NULL,
    description      TEXT NOT NULL,
    access_level     TEXT NOT NULL,     -- readonly, members, everyone
    reply_preference TEXT NOT NULL,     -- list, sender
    created_at       REAL NOT NULL,
    members          INTEGER NOT NULL,  -- how many rows of list_members it has
    subscribed       INTEGER NOT NULL   -- and of those, how many get its mail
);

CREATE TABLE list_members (
    id         INTEGER PRIMARY KEY,
    list_id    INTEGER NOT NULL REFERENCES lists,
    key        TEXT NOT NULL,
    address    TEXT NOT NULL,           -- as written
    name       TEXT NOT NULL,
    subscribed INTEGER NOT NULL,        -- 0: keeps the place, and gets no mail
    variables  TEXT NOT NULL,           -- JSON object
    UNIQUE (list_id, key)
);
CREATE INDEX list_members_subscribed ON list_members (list_id, subscribed, key);
