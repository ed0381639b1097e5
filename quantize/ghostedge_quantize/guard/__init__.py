"""Layers kept in float until the drop of accuracy is within its budget."""
