"""`procedural`: chairs, photographed and drawn."""
