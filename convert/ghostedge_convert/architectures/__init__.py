"""The networks of the family, in our own code."""
