"""The example scripts, imported as a user's Python would run them: from their own folder."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="session")
def generate() -> ModuleType:
    return _script("generate")


@pytest.fixture(scope="session")
def train() -> ModuleType:
    return _script("train")


def _script(name: str) -> ModuleType:
    folder = str(EXAMPLES / "glyphs")
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(folder)
