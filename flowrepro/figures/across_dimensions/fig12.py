"""across_dimensions, Fig. 12: 100 samples from the manifold (s = 0) of the deep NIF at temperature 1.

What one should see: faces, in front of plain backgrounds, smoother than photographs, and no two alike.

t scales standard deviations, as in the authors' code. Two runs, shared with the other figures of faces.
"""

from flowrepro.figures.across_dimensions import deep

table, arrays, draw, CLAIMS = deep.table, deep.arrays_at(1), deep.draw_at(1), deep.claims_at(1)
