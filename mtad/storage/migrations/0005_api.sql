-- The HTTP API: answers to sends that named an idempotency key, kept a day so that the same key sends nothing more.
CREATE TABLE idempotency (
    domain_id  INTEGER NOT NULL,
    digest     BLOB NOT NULL,     -- of the key as the caller gave it
    message_id INTEGER NOT NULL,  -- of messages
    answer     BLOB NOT NULL,     -- JSON, as it was sent
    created_at REAL NOT NULL,
    PRIMARY KEY (domain_id, digest)
) WITHOUT ROWID;
CREATE INDEX idempotency_created ON idempotency (created_at);
