"""Stage 1: frames, augmentation and the training loop of encoders."""
