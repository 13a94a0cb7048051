"""What acts: Gaussian policies on the frozen features of the frames."""
