"""What ssh says when it gets nowhere, in words with a remedy.

OpenSSH's messages are not translated, so its English is a safe thing to look for.
"""

from __future__ import annotations

from dataclasses import dataclass

from ghostedge.devices.address import Device
from ghostedge_runtime.errors import DeviceError


@dataclass(frozen=True)
class _Refusal:
    """A sign in ssh's words, what it means, and what to do (``{ssh}`` and the like filled in)."""

    sign: str
    what: str
    remedy: str


# The first that fits; those that no second attempt mends. A changed key is followed by the
# message of an unknown one, so it comes first.
_FINAL = (
    _Refusal(
        "HOST IDENTIFICATION HAS CHANGED",
        "its host key is another than the one this machine knows: it was set up anew, or "
        "something between here and there pretends to be it",
        "at the device itself run ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub; only if it was "
        "set up anew: ssh-keygen -R {known}, then {ssh} once and compare that fingerprint",
    ),
    _Refusal(
        "Host key verification failed",
        "its host key is not known to this machine",
        "connect once by {ssh}, compare the fingerprint with that of the device "
        "(there: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), and say yes",
    ),
    _Refusal(
        "REVOKED HOST KEY",
        "its host key is marked as revoked on this machine",
        "do not connect before its owner has made new keys",
    ),
    _Refusal(
        "Permission denied",
        "it takes no key of this machine (passwords are not asked for)",
        "run ssh-copy-id {destination} once; for a key with a passphrase start the agent and "
        "ssh-add it; {ssh} must work without a question",
    ),
    _Refusal(
        "Too many authentication failures",
        "it was offered too many keys",
        "name the key in ~/.ssh/config: IdentityFile and IdentitiesOnly yes under Host {host}",
    ),
    _Refusal(
        "Bad configuration option",
        "ssh does not understand its configuration",
        "put ~/.ssh/config right until {ssh} works",
    ),
    _Refusal(
        "Bad owner or permissions",
        "ssh does not trust its configuration's permissions",
        "chmod 600 ~/.ssh/config",
    ),
)
_PASSING = (
    _Refusal(
        "Could not resolve hostname",
        "no machine of this name is found",
        "check the name; without it the device's address does: ssh://user@192.168.…",
    ),
    _Refusal(
        "Connection refused",
        "it is there but takes no SSH connection on that port",
        "switch SSH on (Raspberry Pi: sudo raspi-config, Interface Options; others: sudo systemctl "
        "enable --now ssh), or name its port: ssh://user@host:2222",
    ),
    _Refusal(
        "timed out",
        "it does not answer",
        "check that it is switched on and in the same network: ping {host}",
    ),
    _Refusal(
        "No route to host",
        "there is no way to it in the network",
        "check that it is switched on and in the same network: ping {host}",
    ),
    _Refusal(
        "Network is unreachable",
        "there is no way to its network",
        "check this machine's own network",
    ),
)


def is_final(said: str) -> bool:
    """Whether ssh said something that trying again does not mend."""
    return any(each.sign in said for each in _FINAL)


def refused(device: Device, said: str) -> DeviceError:
    """The error for a connection that ssh could not make, from what it wrote."""
    found = next((each for each in (*_FINAL, *_PASSING) if each.sign in said), None)
    ssh = f"`ssh {device.destination}`"
    if found is None:
        return DeviceError(
            f"ssh cannot connect ({last_line(said)})",
            where=device.name,
            remedy=f"{ssh} must work without a question; ssh -v says more",
        )
    values = {
        "ssh": ssh,
        "host": device.host,
        "destination": device.destination,
        "known": device.host if device.port is None else f"'[{device.host}]:{device.port}'",
    }
    return DeviceError(
        f"{found.what} ({last_line(said)})",
        where=device.name,
        remedy=found.remedy.format(**values),
    )


def last_line(said: str) -> str:
    """What ssh said last, which is the reason of the rest."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else "ssh does not say why"
