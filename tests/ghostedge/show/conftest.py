"""Pages of the runs that are made for tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ghostedge.show.page import page
from ghostedge_runtime.record import BenchRun


@pytest.fixture(scope="session")
def page_of_eight(eight, contents_of) -> str:
    """The page of the eight models."""
    return page(contents_of(eight))


@pytest.fixture(scope="session")
def page_of_both(eight, bare, contents_of) -> str:
    """The page of both machines."""
    return page(contents_of(eight, bare))


@pytest.fixture(scope="session")
def chart_of(contents_of) -> Callable[[BenchRun], str]:
    """The page of a run without its raw samples: the large chart is quickly drawn alone."""

    def draw(run: BenchRun) -> str:
        results = tuple(replace(result, rounds=(), ops=()) for result in run.results)
        return page(contents_of(replace(run, results=results, trace=())))

    return draw
