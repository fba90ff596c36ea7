"""across_dimensions, Fig. 14: 100 samples from the manifold (s = 0) of the deep NIF at temperature 4.

What one should see: more variation still; most samples are caricatures of faces, some are none any more.

t scales standard deviations, as in the authors' code. Two runs, shared with the other figures of faces.
"""

from flowrepro.figures.across_dimensions import deep

table, arrays, draw, CLAIMS = deep.table, deep.arrays_at(4), deep.draw_at(4), deep.claims_at(4)
