"""Measurements kept over time, and whether two of them differ.

`database` keeps runs, `selection` finds them by a person's words, `comparison` holds two sides
against each other. Nothing here measures.
"""
