-- Mail from the world that a route keeps. The bytes are those of the message it came in; they stay as long as this row.
CREATE TABLE stored (
    id         INTEGER PRIMARY KEY,  -- grows with time
    key        TEXT NOT NULL UNIQUE, -- random: in URLs
    domain_id  INTEGER NOT NULL,     -- of ours, that it came to
    message_id INTEGER NOT NULL,
    recipients TEXT NOT NULL,        -- JSON array: as in RCPT
    sender     TEXT NOT NULL,        -- as in MAIL
    stored_at  REAL NOT NULL
);
CREATE INDEX stored_message ON stored (message_id);
