"""Figures of Liao & He 2021, Jacobian Determinant of Normalizing Flows."""
