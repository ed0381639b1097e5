"""What ``--device`` may say, and what ssh says of a device that it does not reach.

``local``, or ``ssh://[USER@]HOST[:PORT][?python=PATH]``. HOST may be a ``Host`` of the user's SSH
configuration. Host and user take only characters that neither ssh, its ``ProxyCommand`` nor a shell
reads as anything else (CVE-2023-51385 came in by a host name). OpenSSH's messages are not
translated, so its English is a safe thing to look for; each becomes an error with a remedy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from ghostedge_runtime.errors import DeviceError, InputError

_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*|[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@+-]*")
_EXAMPLE = (
    "say local, or ssh://pi@raspberrypi.local, ssh://pi@192.168.1.7:2222, "
    "ssh://HOST with a Host of ~/.ssh/config"
)


@dataclass(frozen=True)
class Device:
    """A machine to measure on.

    Attributes:
        name: As it was typed; results and errors name it so.
        host: Host name, address or alias; None for the machine this runs on.
        user: Who logs in there; None: what the SSH configuration says.
        port: Of the SSH server there; None: what the SSH configuration says.
        python: The Python to use there.
    """

    name: str
    host: str | None = None
    user: str | None = None
    port: int | None = None
    python: str = "python3"

    @property
    def destination(self) -> str:
        """``user@host``, as one says to ``ssh``; with the port before it where there is one."""
        port = "" if self.port is None else f"-p {self.port} "
        return port + (f"{self.user}@" if self.user else "") + (self.host or "")


LOCAL = Device("local")


def parse_device(text: str) -> Device:
    """The device that a word of the command line names.

    Raises:
        InputError: It names none; the message says how to.
    """
    name = text.strip()
    if name == "local":
        return LOCAL
    if not name.startswith("ssh://"):
        raise _refused(name, "it is neither local nor ssh://…")
    try:
        url = urlsplit(name)
        host, port = _host(url.netloc), url.port
    except ValueError as error:
        raise _refused(name, str(error)) from error
    if url.password is not None:
        raise _refused(name, "a password has no place on a command line; use a key (ssh-copy-id)")
    user = unquote(url.username) if url.username else None
    if user is not None and not _USER.fullmatch(user):
        raise _refused(name, f"{user!r} is no user name")
    if not _HOST.fullmatch(host):
        raise _refused(name, f"{host!r} is no host name")
    if url.path not in ("", "/") or url.fragment:
        raise _refused(name, "nothing may follow the host and the port but ?python=PATH")
    return Device(name, host, user, port, **_python(name, url.query))


def _host(netloc: str) -> str:
    """The host as it was written: urlsplit would make an alias' capitals small."""
    after = netloc.rpartition("@")[2]
    if after.startswith("["):
        return unquote(after[1:].partition("]")[0])
    return after.partition(":")[0]


def _python(name: str, query: str) -> Mapping[str, str]:
    settings = parse_qsl(query, keep_blank_values=True)
    if not settings:
        return {}
    key, value = settings[0]
    if len(settings) > 1 or key != "python" or not value or not value.isprintable():
        raise _refused(name, "the only option is ?python=PATH, the Python to use there")
    if value.startswith("-"):
        raise _refused(name, f"{value!r} is no path of a Python")
    # ssh begins in the home directory.
    return {"python": "./" + value[2:] if value.startswith("~/") else value}


def _refused(name: str, what: str) -> InputError:
    return InputError(f"--device: {what}", where=name, remedy=_EXAMPLE)


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


def is_final(output: str) -> bool:
    """Whether ssh said something that trying again does not mend."""
    return any(refusal.sign in output for refusal in _FINAL)


def refused(device: Device, output: str) -> DeviceError:
    """The error for a connection that ssh could not make, from what it wrote."""
    refusals = (*_FINAL, *_PASSING)
    refusal = next((refusal for refusal in refusals if refusal.sign in output), None)
    ssh = f"`ssh {device.destination}`"
    if refusal is None:
        return DeviceError(
            f"ssh cannot connect ({last_line(output)})",
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
        f"{refusal.what} ({last_line(output)})",
        where=device.name,
        remedy=refusal.remedy.format(**values),
    )


def last_line(output: str) -> str:
    """What ssh said last, which is the reason of the rest."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "ssh does not say why"
