"""The pair protocol, written a second time from docs/protocol and from nothing else."""
