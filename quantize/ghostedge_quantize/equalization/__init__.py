"""Channels of unlike ranges evened before they are quantized."""
