-- Chains whose identity was replaced: kept so that nobody can say that they never were. Current chains stay in `chain`.

CREATE TABLE former_chain (
    user_id      BLOB NOT NULL REFERENCES account (user_id),
    -- SHA-256 of its first record: two chains of one user never share it.
    genesis_hash BLOB NOT NULL,
    org_id       BLOB NOT NULL,
    -- 1 by a rotation, which the replaced key signed; 2 by a reset.
    replaced_by  INTEGER NOT NULL,
    replaced_at  INTEGER NOT NULL,
    PRIMARY KEY (user_id, genesis_hash)
) STRICT, WITHOUT ROWID;

CREATE TABLE former_chain_record (
    user_id      BLOB NOT NULL,
    genesis_hash BLOB NOT NULL,
    seq          INTEGER NOT NULL,
    record       BLOB NOT NULL,
    PRIMARY KEY (user_id, genesis_hash, seq),
    FOREIGN KEY (user_id, genesis_hash) REFERENCES former_chain (user_id, genesis_hash)
) STRICT, WITHOUT ROWID;
