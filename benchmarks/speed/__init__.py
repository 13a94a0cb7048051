"""How fast the environment, its kernels and training are, beside what others would write."""
