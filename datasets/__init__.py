"""The ground floor: strokes and photos, reveal schedules, rasteriser. Imports no other room of the house."""
