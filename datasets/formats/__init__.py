"""File formats that drawings come in: SVG, NDJSON, legacy pickles; and the canvas they are fitted to."""
