-- Enrolment tokens that have begun a session: each begins one. Kept until the token would have ended by itself.
CREATE TABLE spent_enrolment (
    -- SHA-256 of the token.
    token_hash BLOB PRIMARY KEY,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
