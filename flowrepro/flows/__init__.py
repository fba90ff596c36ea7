"""Normalizing flows: layers, chains, bases, and the models built from them."""
