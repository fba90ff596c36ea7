"""The page of all figures and claims, and the README's index of figures."""
