"""Retrieval on categories, instances and data sets that an encoder has not seen."""
