"""Compiled kernels of the ranking: numba on a CPU, Triton on a GPU."""
