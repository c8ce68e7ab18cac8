-- How many recipients a domain may send to in an hour; 0: any number.
ALTER TABLE domains ADD COLUMN hourly_limit INTEGER NOT NULL DEFAULT 0;
