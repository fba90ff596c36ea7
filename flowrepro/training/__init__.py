"""Training: the loop, its phases, the regularizers."""
