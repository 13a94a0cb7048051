"""A person draws, and the photos come: the server and the page of `sketchless draw`."""
