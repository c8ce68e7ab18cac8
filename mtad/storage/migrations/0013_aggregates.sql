-- Aggregates by spans of time, so that they can be forgotten as counters are. period: of 30 days, counted from 1970.
CREATE TABLE aggregates_by_period (
    domain_id INTEGER NOT NULL,
    label     TEXT NOT NULL,
    kind      TEXT NOT NULL,
    value     TEXT NOT NULL,
    metric    INTEGER NOT NULL,
    period    INTEGER NOT NULL,
    n         INTEGER NOT NULL,
    PRIMARY KEY (domain_id, label, kind, value, metric, period)
) WITHOUT ROWID;
INSERT INTO aggregates_by_period
    SELECT domain_id, label, kind, value, metric, CAST(strftime('%s', 'now') AS INTEGER) / 2592000, n FROM aggregates;
DROP TABLE aggregates;
ALTER TABLE aggregates_by_period RENAME TO aggregates;
CREATE INDEX aggregates_period ON aggregates (period);
