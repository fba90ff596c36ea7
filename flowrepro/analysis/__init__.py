"""Mathematics on a flow or on data: Jacobians, components, bounds. No training, no files."""
