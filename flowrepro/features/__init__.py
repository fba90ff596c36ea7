"""Feature networks, and distances between sets of images on their features."""
