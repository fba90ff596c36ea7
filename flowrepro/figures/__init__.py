"""One module per figure, by paper: `measure`, `table`, `draw` and `CLAIMS`."""
