"""The pipeline behind ``ghostedge convert``; the only part of the front door that needs torch."""
