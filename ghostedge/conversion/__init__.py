"""What ``ghostedge convert`` does: MODEL's kinds, the stages, the comparison of the files."""
