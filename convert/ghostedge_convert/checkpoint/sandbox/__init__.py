"""A pickle that may run code, read by a confined child process."""
