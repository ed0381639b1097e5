"""Measure on machines that are reached over SSH.

`run_on` takes what ``ghostedge bench --device`` says, several devices at once. The other end is
`ghostedge_runtime.remote`, which travels there as a wheel; ``docs/devices.md`` says what is
put on a device and what runs there.
"""

from __future__ import annotations

from ghostedge.devices.address import LOCAL, Device, parse_device
from ghostedge.devices.connection import Limits
from ghostedge.devices.run import DevicesFailedError, run_on

__all__ = ["LOCAL", "Device", "DevicesFailedError", "Limits", "parse_device", "run_on"]
