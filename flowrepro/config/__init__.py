"""The typed config: keys, reading, checks, and the identity of a run."""
