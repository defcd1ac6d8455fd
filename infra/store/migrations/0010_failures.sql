-- What a device has reported of messages that it could not open: counts by reason, as JSON.
ALTER TABLE device ADD COLUMN failures TEXT;
ALTER TABLE device ADD COLUMN failures_at INTEGER;
