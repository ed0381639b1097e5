"""What each entry point may import: a device must never wait for, or need, a framework."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Third-party packages of the base install, with what they import themselves.
BASE = {
    "ai_edge_litert",
    "backports",
    "click",
    "flatbuffers",
    "ghostedge",
    "ghostedge_runtime",
    "google",
    "markdown_it",
    "mdurl",
    "ml_dtypes",
    "numpy",
    "PIL",
    "pygments",
    "rich",
    "tqdm",
    "typing_extensions",
}

PROBE = """
import sys
sys.argv = ["ghostedge", {arguments}]
from ghostedge.cli import main
try:
    main()
except SystemExit:
    pass
from importlib.machinery import PathFinder
roots = {{name.split(".")[0] for name in sys.modules}}
third = {{r for r in roots if r not in sys.stdlib_module_names and not r.startswith("_")}}
print("IMPORTED", *sorted(third))
"""


def imported(*arguments: str) -> set[str]:
    code = PROBE.format(arguments=", ".join(map(repr, arguments)))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split("IMPORTED")[1].split())


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("bench", "--help"),
        ("compare", "--help"),
        ("report", "--help"),
        ("run", "--help"),
        ("inspect", "--help"),
        ("features", "--help"),
        ("doctor",),
    ],
    ids=" ".join,
)
def test_a_device_command_imports_the_base_install_only(arguments: tuple[str, ...]) -> None:
    assert imported(*arguments) <= BASE


def test_the_package_itself_imports_nothing_of_a_third_party() -> None:
    code = (
        "import sys, ghostedge; print([m for m in ('numpy','click','torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
