"""Networks that map pixels to vectors: backbones, attention, heads."""
