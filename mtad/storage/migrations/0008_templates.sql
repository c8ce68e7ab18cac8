-- Templates: stored texts that messages are made of. domain_id NULL: of the account, for every domain. id: grows with
-- time (mail/ids.py).
CREATE TABLE templates (
    id          INTEGER PRIMARY KEY,
    domain_id   INTEGER REFERENCES domains ON DELETE CASCADE,
    name        TEXT NOT NULL,       -- lower case
    description TEXT NOT NULL,
    created_at  REAL NOT NULL,
    created_by  TEXT NOT NULL
);
CREATE UNIQUE INDEX templates_name ON templates (ifnull(domain_id, 0), name);
CREATE INDEX templates_domain ON templates (domain_id);

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
CREATE UNIQUE INDEX template_versions_active ON template_versions (template_id) WHERE active = 1;

-- Unsubscribes are removed by an id that names the second they were made in.
CREATE INDEX unsubscribes_created ON unsubscribes (domain_id, created_at, address, tag);
