"""One module a figure, by paper: `measure`, `table`, `draw` and `CLAIMS`."""
