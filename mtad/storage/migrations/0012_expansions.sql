-- Posts to mailing lists that are becoming the copies of their members: how far each has come.
CREATE TABLE expansions (
    recipient_id INTEGER PRIMARY KEY,  -- the row of the list's own address
    list_id      INTEGER NOT NULL,
    last         TEXT NOT NULL,        -- the key of the last member whose copy is made; '' none
    copies       INTEGER NOT NULL,
    done         INTEGER NOT NULL,
    size         INTEGER NOT NULL,     -- of the copies' bytes, which are made once
    content      BLOB,                 -- NULL: in the spool, or not needed any more
    segment      INTEGER,
    position     INTEGER
);
