"""Checkpoint files: refused or loaded, unwrapped, their configuration read."""
