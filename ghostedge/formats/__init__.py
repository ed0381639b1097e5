"""What GhostEdge does with a format besides running it: write, inspect, read the layers.

`table` has a row for each format, with the bounds that its files are held to; each has a module of
its own. `format` is what they have in common; `reading` opens a file by the table.
"""
