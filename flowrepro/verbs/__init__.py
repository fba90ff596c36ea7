"""What the command line does: train, evaluate, plot, and sweeps of train."""
