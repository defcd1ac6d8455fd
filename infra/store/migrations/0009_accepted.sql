-- Which envelopes the logs hold already, for retries. An index over what the senders chose at random costs a page of its
-- own for each entry; this one is filled in batches, in its own order (docs/adr/0015). Entries that are there already are
-- put into it when this step is taken.

CREATE TABLE accepted (
    -- 64 bits of SHA-256 over log, sender_device, msg_id, dest and attempt.
    fingerprint INTEGER NOT NULL,
    -- Of the entry.
    number      INTEGER NOT NULL,
    PRIMARY KEY (fingerprint, number)
) STRICT, WITHOUT ROWID;

-- Entries behind it are not in the table yet. Control entries never are.
CREATE TABLE accepted_through (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    number INTEGER NOT NULL
) STRICT;

INSERT INTO accepted_through (id, number) VALUES (1, 0);

DROP INDEX entry_by_sender;
