"""Readers of released data sets, one module a layout on disk."""
