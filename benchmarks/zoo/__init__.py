"""Weights as others find them: a folder with its manifest and model card, and the Hugging Face hub."""
