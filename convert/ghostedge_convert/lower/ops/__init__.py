"""How each op is lowered, where it is more than a row of the op table."""
