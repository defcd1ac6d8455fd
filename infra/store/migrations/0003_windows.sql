-- Quotas count in any hour, not in those of the clock, and what is out of date is found without a scan.

-- At most an hour of counts is lost.
DROP TABLE bundle_quota;

-- Bundles with one-time keys that were handed out in the last hour, one row each.
CREATE TABLE bundle_taken (
    requester BLOB NOT NULL,
    device_id BLOB NOT NULL,
    taken_at  INTEGER NOT NULL
) STRICT;

CREATE INDEX bundle_taken_by_requester ON bundle_taken (requester, device_id, taken_at);
CREATE INDEX bundle_taken_by_time ON bundle_taken (taken_at);
CREATE INDEX link_channel_by_time ON link_channel (opened_at);
