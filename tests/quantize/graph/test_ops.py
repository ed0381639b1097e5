"""The int8 table: each row has all that planning and equalization ask of an op."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ghostedge_quantize.equalization.channels import PASSING
from ghostedge_quantize.equalization.gains import GAINS
from ghostedge_quantize.graph.ops import TABLE, Channels, Noise, Role


def test_every_way_to_pass_channels_on_has_a_function() -> None:
    assert set(PASSING) == set(Channels)


def test_every_way_to_pass_noise_on_has_a_function() -> None:
    assert set(GAINS) == set(Noise)


@pytest.mark.parametrize("op", TABLE)
def test_the_table_fixes_the_output_range_of_the_ops_that_have_one_and_of_no_other(op: str) -> None:
    assert (TABLE[op].output is not None) == (TABLE[op].role is Role.FIXED)


@pytest.mark.parametrize("op", TABLE)
def test_only_ops_that_share_a_scale_say_whether_they_compute(op: str) -> None:
    assert TABLE[op].role is Role.SHARES or not TABLE[op].computes


@pytest.mark.parametrize("op", TABLE)
def test_an_op_passes_channels_on_as_a_layer_exactly_where_it_has_int8_weights(op: str) -> None:
    weighted = TABLE[op].role is Role.WEIGHTED
    assert (TABLE[op].channels is Channels.LAYER) == weighted
    assert (TABLE[op].noise is Noise.LAYER) == weighted


ROLE_ROWS = {
    Role.WEIGHTED: "with weights",
    Role.ARITHMETIC: "with a range of their own, several inputs",
    Role.MEAN: "with a range of their own, one input",
    Role.FIXED: "with a scale fixed by the kernels",
    Role.SHARES: "sharing one scale, in and out",
    Role.ACTIVATION: "as a layer's tail",
    Role.FLOAT: "not:",
}


@pytest.mark.parametrize("op", TABLE)
def test_the_packages_readme_lists_an_op_in_the_row_of_its_role(op: str) -> None:
    readme = Path(__file__).parents[3] / "quantize" / "README.md"
    (row,) = (
        line
        for line in readme.read_text(encoding="utf-8").splitlines()
        if line.startswith(f"| {ROLE_ROWS[TABLE[op].role]}")
    )
    assert op in re.findall(r"\w+", row.split("|")[2])
