"""What a run shows: tables in the terminal, figures, an animated episode."""
