"""Data sets that are drawn by the package itself."""
