"""Pictures of an episode: the drawing so far beside the photos that rank first."""
