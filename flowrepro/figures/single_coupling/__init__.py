"""Figures of Draxler et al. 2020, Characterizing the Role of a Single Coupling Layer in Affine Normalizing Flows."""
