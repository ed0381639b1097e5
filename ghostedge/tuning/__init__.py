"""``tune``: the fastest files that a machine can run, by measuring choices of float and int8."""
