"""GhostEdge: trained GhostNets to the device."""

__version__ = "0.1.0"
