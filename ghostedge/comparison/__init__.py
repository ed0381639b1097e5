"""Whether two measurements differ.

`selection` finds kept runs by a person's words, `compare` holds two sides against each other,
`ratio` says how sure a ratio is. Nothing here measures.
"""
