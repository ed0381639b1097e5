"""What holds in a confined process, and when a process is not confined."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ghostedge_convert.checkpoint.sandbox.confine import (
    ConfinementError,
    confine,
    limit_memory,
    readable_paths,
)
from ghostedge_convert.checkpoint.sandbox.landlock import landlock_version
from ghostedge_convert.checkpoint.sandbox.seccomp import has_filter

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not has_filter(os.uname().machine) or not landlock_version(),
    reason="this machine cannot confine a process, and the option says so",
)


def in_process(code: str):
    """The JSON that a Python process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", f"import json\n{code}"], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_a_process_is_confined_where_namespaces_are_refused(tmp_path):
    found = in_process(
        "import ctypes, ghostedge_convert.checkpoint.sandbox.confine as c\n"
        "real = ctypes.CDLL(None, use_errno=True)\n"
        "class NoNamespaces:\n"
        "    prctl = real.prctl\n"
        "    unshare = staticmethod(lambda flags: -1)\n"
        "c.ctypes = type('ctypes', (), {'CDLL': staticmethod(lambda *a, **k: NoNamespaces)})\n"
        "parts = c.confine(seconds=9, written=1 << 20)\n"
        "import os, socket\n"
        "said = []\n"
        "for action in (lambda: socket.socket(), lambda: open(PATH, 'w'), lambda: os.fork()):\n"
        "    try: action(); said.append('done')\n"
        "    except OSError as error: said.append(type(error).__name__)\n"
        "print(json.dumps([parts, said]))".replace("PATH", repr(str(tmp_path / "new")))
    )
    parts, said = found
    assert [part.split()[0] for part in parts] == ["resource", "Landlock", "system"]
    assert said == ["PermissionError"] * 3
    assert not (tmp_path / "new").exists()


def test_a_thread_before_the_confinement_is_refused():
    found = in_process(
        "import threading, time, ghostedge_convert.checkpoint.sandbox.confine as c\n"
        "threading.Thread(target=time.sleep, args=(5,), daemon=True).start()\n"
        "try: c.confine(seconds=9, written=1)\n"
        "except c.ConfinementError as error: print(json.dumps(str(error)))"
    )
    assert found == "a thread was started before the process was confined"


def test_the_root_of_the_file_system_is_never_readable(monkeypatch):
    monkeypatch.setattr(sys, "path", ["", "/", str(Path("/usr/.."))])
    paths = readable_paths()
    assert "/" not in paths
    assert os.path.realpath(sys.base_prefix) in paths


def test_memory_is_limited_to_so_much_more():
    found = in_process(
        "import resource, ghostedge_convert.checkpoint.sandbox.confine as c\n"
        "c.limit_memory(64 << 20)\n"
        "try: bytearray(256 << 20); print('1')\n"
        "except MemoryError: print('2')"
    )
    assert found == 2
    assert callable(limit_memory)


def test_a_machine_without_landlock_refuses_and_says_so(monkeypatch):
    monkeypatch.setattr("ghostedge_convert.checkpoint.sandbox.confine.landlock_version", lambda: 0)
    with pytest.raises(ConfinementError, match="Landlock is missing"):
        confine(seconds=1, written=1)
