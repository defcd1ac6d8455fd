-- Conversations and their logs.
-- Identifiers are 16-byte blobs, times milliseconds since the Unix epoch. `log` numbers a conversation inside the
-- database, so that the large tables carry a small key.

CREATE TABLE conversation (
    log             INTEGER PRIMARY KEY,
    conversation_id BLOB NOT NULL UNIQUE,
    org_id          BLOB NOT NULL,
    kind            INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    -- The last entry's number; 0 when empty.
    head            INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE member (
    user_id BLOB NOT NULL,
    log     INTEGER NOT NULL REFERENCES conversation (log),
    PRIMARY KEY (user_id, log)
) STRICT, WITHOUT ROWID;

CREATE INDEX member_by_log ON member (log, user_id);

CREATE TABLE entry (
    -- Grows with time over all logs: retention walks it instead of an index.
    number        INTEGER PRIMARY KEY,
    log           INTEGER NOT NULL REFERENCES conversation (log),
    seq           INTEGER NOT NULL,
    msg_id        BLOB NOT NULL,
    sender        BLOB NOT NULL,
    sender_device BLOB NOT NULL,
    -- 16 zero bytes, or the only receiving device.
    dest          BLOB NOT NULL,
    attempt       INTEGER NOT NULL,
    server_time   INTEGER NOT NULL,
    -- NULL once every listed device has it, or retention took it.
    body          BLOB
) STRICT;

CREATE UNIQUE INDEX entry_by_seq ON entry (log, seq);
-- A retry finds the first.
CREATE UNIQUE INDEX entry_by_sender ON entry (sender_device, msg_id, log, dest, attempt);

CREATE TABLE capsule (
    log       INTEGER NOT NULL,
    seq       INTEGER NOT NULL,
    device_id BLOB NOT NULL,
    kind      INTEGER NOT NULL,
    sealed    BLOB NOT NULL,
    PRIMARY KEY (log, seq, device_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE cursor (
    device_id BLOB NOT NULL,
    log       INTEGER NOT NULL REFERENCES conversation (log),
    -- Everything up to here is processed and persisted by the device.
    seq       INTEGER NOT NULL,
    PRIMARY KEY (device_id, log)
) STRICT, WITHOUT ROWID;

-- What a device asks for when it connects: did the server keep my last message? Of direct conversations only.
CREATE TABLE last_accepted (
    device_id BLOB PRIMARY KEY,
    msg_id    BLOB NOT NULL
) STRICT, WITHOUT ROWID;
