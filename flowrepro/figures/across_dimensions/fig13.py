"""across_dimensions, Fig. 13: 100 samples from the manifold (s = 0) of the deep NIF at temperature 2.

What one should see: more variation than at temperature 1 (Fig. 12): stronger colours, other poses, and still faces.

t scales standard deviations, as in the authors' code. Two runs, shared with the other figures of faces.
"""

from flowrepro.figures.across_dimensions import deep

table, arrays, draw, CLAIMS = deep.table, deep.arrays_at(2), deep.draw_at(2), deep.claims_at(2)
