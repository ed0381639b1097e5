"""What ``--device`` may say.

``local``, or ``ssh://[USER@]HOST[:PORT][?python=PATH]``. HOST may be a ``Host`` of the user's SSH
configuration. Host and user take only characters that neither ssh, its ``ProxyCommand`` nor a shell
reads as anything else (CVE-2023-51385 came in by a host name).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from ghostedge_runtime.errors import InputError

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
        port: Likewise.
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
    given = parse_qsl(query, keep_blank_values=True)
    if not given:
        return {}
    key, value = given[0]
    if len(given) > 1 or key != "python" or not value or not value.isprintable():
        raise _refused(name, "the only option is ?python=PATH, the Python to use there")
    if value.startswith("-"):
        raise _refused(name, f"{value!r} is no path of a Python")
    # ssh begins in the home directory.
    return {"python": "./" + value[2:] if value.startswith("~/") else value}


def _refused(name: str, what: str) -> InputError:
    return InputError(f"--device: {what}", where=name, remedy=_EXAMPLE)
