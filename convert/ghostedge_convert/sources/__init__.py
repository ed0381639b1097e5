"""Networks that come as something other than a checkpoint of the family: a loader for each."""
