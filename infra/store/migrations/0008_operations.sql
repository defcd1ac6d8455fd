-- When this database was restored from a backup. Between the two times other things happened, which it does not know.
CREATE TABLE restoration (
    number      INTEGER PRIMARY KEY,
    -- When the backup was made.
    backup_at   INTEGER NOT NULL,
    restored_at INTEGER NOT NULL
) STRICT;

-- Set by a restore, until the device has presented a refresh token again: it may hold a later one than this row.
ALTER TABLE session ADD COLUMN restored_at INTEGER;
