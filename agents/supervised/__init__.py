"""Agents that learn by a supervised loss, not from rewards."""
