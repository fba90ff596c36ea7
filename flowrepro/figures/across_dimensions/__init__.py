"""Figures of Cunningham et al. 2020, Normalizing Flows Across Dimensions."""
