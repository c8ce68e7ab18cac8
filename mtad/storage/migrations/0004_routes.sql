-- Routes: what becomes of mail that comes in. id: grows with time (mail/ids.py), so it is the order of creation too.

CREATE TABLE routes (
    id          INTEGER PRIMARY KEY,
    priority    INTEGER NOT NULL,  -- lower ones are looked at first
    description TEXT NOT NULL,
    expression  TEXT NOT NULL,     -- as it was given
    actions     TEXT NOT NULL,     -- JSON array of texts as they were given
    created_at  REAL NOT NULL
);
CREATE INDEX routes_order ON routes (priority, id);
