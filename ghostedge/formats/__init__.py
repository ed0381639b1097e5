"""What is in a file: one module for each kind of file, one typed answer for all."""
