"""A run is one folder: identity, status, manifest, history, checkpoints."""
