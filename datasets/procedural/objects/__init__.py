"""`objects`: twenty categories, photographed and drawn."""
