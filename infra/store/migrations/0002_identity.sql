-- Who there is, which devices speak for them, and what the server wrote down about it.
-- Tokens and prekey halves that would be worth stealing are stored hashed or sealed. 0^16 as `org_id` is the server.

CREATE TABLE organisation (
    org_id     BLOB PRIMARY KEY,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE account (
    user_id     BLOB PRIMARY KEY,
    org_id      BLOB NOT NULL REFERENCES organisation (org_id),
    username    TEXT NOT NULL,
    -- 1 super_admin, 2 member.
    role        INTEGER NOT NULL,
    -- PHC string.
    password    TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    disabled_at INTEGER,
    UNIQUE (org_id, username)
) STRICT, WITHOUT ROWID;

CREATE TABLE invitation (
    invitation_id BLOB PRIMARY KEY,
    org_id        BLOB NOT NULL REFERENCES organisation (org_id),
    -- SHA-256 of the token.
    token_hash    BLOB NOT NULL UNIQUE,
    role          INTEGER NOT NULL,
    -- NULL for the set-up token.
    made_by       BLOB,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    used_by       BLOB,
    used_at       INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE chain (
    user_id   BLOB PRIMARY KEY REFERENCES account (user_id),
    org_id    BLOB NOT NULL,
    -- Records; the last one has the number `length - 1`.
    length    INTEGER NOT NULL,
    head_hash BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE chain_record (
    user_id BLOB NOT NULL REFERENCES chain (user_id),
    seq     INTEGER NOT NULL,
    record  BLOB NOT NULL,
    PRIMARY KEY (user_id, seq)
) STRICT, WITHOUT ROWID;

-- The identity key, wrapped by the recovery key on the user's device.
CREATE TABLE recovery (
    user_id    BLOB PRIMARY KEY REFERENCES account (user_id),
    org_id     BLOB NOT NULL,
    wrapped    BLOB NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What the newest certificate says, so that no chain is read to check a signature or a date.
CREATE TABLE device (
    device_id        BLOB PRIMARY KEY,
    user_id          BLOB NOT NULL REFERENCES account (user_id),
    org_id           BLOB NOT NULL,
    name             TEXT NOT NULL,
    capabilities     INTEGER NOT NULL,
    dsk              BLOB NOT NULL,
    certificate_hash BLOB NOT NULL,
    not_before       INTEGER NOT NULL,
    not_after        INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    last_seen_at     INTEGER,
    revoked_at       INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX device_by_user ON device (user_id, device_id);

CREATE TABLE session (
    session_id    BLOB PRIMARY KEY,
    device_id     BLOB NOT NULL REFERENCES device (device_id),
    user_id       BLOB NOT NULL REFERENCES account (user_id),
    org_id        BLOB NOT NULL,
    created_at    INTEGER NOT NULL,
    refreshed_at  INTEGER NOT NULL,
    -- SHA-256 of the refresh token in force, and of the one that was used to get it.
    current_hash  BLOB NOT NULL,
    previous_hash BLOB,
    -- The token in force, sealed under a server key: the previous one gets it again.
    current_token BLOB NOT NULL,
    ended_at      INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX session_by_device ON session (device_id);

CREATE TABLE prekey_set (
    device_id             BLOB PRIMARY KEY REFERENCES device (device_id),
    org_id                BLOB NOT NULL,
    generation            INTEGER NOT NULL,
    certificate_hash      BLOB NOT NULL,
    -- Encoded as in a bundle.
    signed                BLOB NOT NULL,
    signed_not_after      INTEGER NOT NULL,
    last_resort           BLOB,
    last_resort_not_after INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE one_time_prekey (
    device_id BLOB NOT NULL REFERENCES prekey_set (device_id),
    -- 1 X25519, 2 ML-KEM-768.
    kind      INTEGER NOT NULL,
    id        INTEGER NOT NULL,
    -- The end of its use; the end of time for those that say none.
    not_after INTEGER NOT NULL,
    -- Encoded as in a bundle.
    prekey    BLOB NOT NULL,
    PRIMARY KEY (device_id, kind, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE bundle_quota (
    requester BLOB NOT NULL,
    device_id BLOB NOT NULL,
    -- Hours since the Unix epoch.
    hour      INTEGER NOT NULL,
    taken     INTEGER NOT NULL,
    PRIMARY KEY (requester, device_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE link_channel (
    device_id BLOB PRIMARY KEY,
    user_id   BLOB NOT NULL REFERENCES account (user_id),
    org_id    BLOB NOT NULL,
    opened_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX link_channel_by_user ON link_channel (user_id, opened_at);

CREATE TABLE link_message (
    device_id BLOB NOT NULL REFERENCES link_channel (device_id) ON DELETE CASCADE,
    -- 1 to the new device, 2 to the certifying one.
    direction INTEGER NOT NULL,
    number    INTEGER NOT NULL,
    message   BLOB NOT NULL,
    PRIMARY KEY (device_id, direction, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit_record (
    -- From 1, without gaps.
    number     INTEGER PRIMARY KEY,
    org_id     BLOB NOT NULL,
    at         INTEGER NOT NULL,
    act        INTEGER NOT NULL,
    header     BLOB NOT NULL,
    commitment BLOB NOT NULL
) STRICT;

-- Apart, so that it can be deleted while the record stays.
CREATE TABLE audit_payload (
    number  INTEGER PRIMARY KEY REFERENCES audit_record (number),
    salt    BLOB NOT NULL,
    payload BLOB NOT NULL
) STRICT;
