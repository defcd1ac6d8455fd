-- Answers of requests that may come again, devices that an administrator refuses, and accounts that are deleted.

-- One row for each request that made something and named a key, for a day.
CREATE TABLE idempotency (
    -- SHA-256 over who asked, for what and under which key.
    key_hash     BLOB PRIMARY KEY,
    org_id       BLOB NOT NULL,
    -- Whose keys are counted: a user, or who invited the one who had no account yet.
    owner        BLOB NOT NULL,
    -- SHA-256 of what was asked, without its secrets.
    request_hash BLOB NOT NULL,
    -- What the answer is made of again; sealed when it holds a secret.
    answer       BLOB NOT NULL,
    created_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_by_owner ON idempotency (owner);
CREATE INDEX idempotency_by_time ON idempotency (created_at);

ALTER TABLE account ADD COLUMN deleted_at INTEGER;
ALTER TABLE device ADD COLUMN refused_at INTEGER;

-- Names of deleted accounts, as keyed hashes: clients keep names for good, so none is given to anyone else.
CREATE TABLE reserved_name (
    org_id    BLOB NOT NULL,
    name_hash BLOB NOT NULL,
    PRIMARY KEY (org_id, name_hash)
) STRICT, WITHOUT ROWID;

CREATE INDEX account_by_org ON account (org_id, user_id);
CREATE INDEX session_by_user ON session (user_id, session_id);
