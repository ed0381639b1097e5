"""The four distributions carry one version, and ask for each other at exactly that."""

from __future__ import annotations

import importlib
import re
from importlib.metadata import requires, version

import pytest

NAMES = ("ghostedge", "ghostedge-convert", "ghostedge-quantize", "ghostedge-runtime")


@pytest.mark.parametrize("name", NAMES)
def test_a_distribution_and_its_package_carry_the_common_version(name: str) -> None:
    package = importlib.import_module(name.replace("-", "_"))
    assert version(name) == package.__version__ == version("ghostedge")


@pytest.mark.parametrize("name", NAMES)
def test_a_distribution_asks_for_its_siblings_at_the_same_version(name: str) -> None:
    siblings = [line for line in requires(name) or [] if line.startswith("ghostedge-")]
    pinned = [re.search(r"==([^;\s]+)", line) for line in siblings]
    assert [match and match[1] for match in pinned] == [version("ghostedge")] * len(siblings)
    assert bool(siblings) == (name != "ghostedge-runtime")
