-- What a domain takes and signs with, and what DNS said of the records it should have.

ALTER TABLE domains ADD COLUMN spam_action TEXT NOT NULL DEFAULT 'disabled';  -- disabled, tag, block, delete
ALTER TABLE domains ADD COLUMN wildcard INTEGER NOT NULL DEFAULT 0;           -- mail to its sub-domains is taken too
ALTER TABLE domains ADD COLUMN is_disabled INTEGER NOT NULL DEFAULT 0;
ALTER TABLE domains ADD COLUMN own_dkim INTEGER NOT NULL DEFAULT 1;           -- 0: the keys of a domain above it sign
ALTER TABLE domains ADD COLUMN checked_at REAL;

ALTER TABLE dkim_keys ADD COLUMN active INTEGER NOT NULL DEFAULT 1;           -- it signs

-- One row per record that was looked for at the last check; another value is another record.
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
