-- Finding events. One entry per event, at the end of its run, so the intake hardly pays for it.
CREATE INDEX events_domain ON events (domain_id, type);

-- By recipient, Message-Id and tag (storage/lookups.py). Written behind the intake, in sorted batches: an index that
-- each new row enters at a place of its own would cost the intake more than the rows themselves. span: of time.
CREATE TABLE lookups (
    span INTEGER NOT NULL,
    key  INTEGER NOT NULL,   -- of domain, kind and text
    id   INTEGER NOT NULL,   -- of recipients, messages or events, by kind
    PRIMARY KEY (span, key, id)
) WITHOUT ROWID;
