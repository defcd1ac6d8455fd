-- The Merkle tree over the audit records, and the heads of it that were signed (docs/audit.md). The nodes of records
-- that are there already are computed when this step is taken.

CREATE TABLE audit_node (
    -- The record that completes them.
    number INTEGER PRIMARY KEY,
    -- 32 bytes each: the leaf of the record, then every subtree of 2, 4, 8... records that ends with it.
    hashes BLOB NOT NULL
) STRICT;

CREATE TABLE audit_head (
    -- From 1, without gaps.
    number    INTEGER PRIMARY KEY,
    size      INTEGER NOT NULL,
    root      BLOB NOT NULL,
    at        INTEGER NOT NULL,
    log_id    BLOB NOT NULL,
    signature BLOB NOT NULL
) STRICT;

-- How many there must be: a deleted last row has no successor that misses it.
CREATE TABLE audit_count (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    records INTEGER NOT NULL,
    heads   INTEGER NOT NULL
) STRICT;

INSERT INTO audit_count (id, records, heads) VALUES (1, 0, 0);
