"""The look of all pictures, and the pictures of single runs and sweeps."""
