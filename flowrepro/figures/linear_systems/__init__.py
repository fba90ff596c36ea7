"""Figures of Feinman & Parthasarathy 2020, A Linear Systems Theory of Normalizing Flows."""
