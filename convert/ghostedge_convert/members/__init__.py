"""A file for each family: what detection needs of it, as data."""
