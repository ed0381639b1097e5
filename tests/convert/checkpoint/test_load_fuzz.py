"""Cut and mutated files: a checkpoint or a CheckpointError, never anything else."""

from __future__ import annotations

from argparse import Namespace
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ghostedge_convert import Checkpoint, identify, load_checkpoint
from ghostedge_runtime.errors import CheckpointError

FORMATS = ("zip", "legacy", "beside", "safetensors")


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A small checkpoint in every format; what GhostNet keys there are does not matter here."""
    torch.manual_seed(0)
    weights = {
        "conv_stem.weight": torch.randn(4, 3, 3, 3),
        "bn1.running_var": torch.ones(4),
        "bn1.num_batches_tracked": torch.tensor(3),
    }
    folder = tmp_path_factory.mktemp("originals")
    torch.save({"state_dict": weights, "epoch": 3}, folder / "zip")
    torch.save({"model": weights}, folder / "legacy", _use_new_zipfile_serialization=False)
    beside = {"args": Namespace(lr=0.1, path=Path("a")), "best": np.float64(73.9),
              "history": np.arange(3.0), "all": defaultdict(list, {"a": [1]})}  # fmt: skip
    torch.save({"model": weights, **beside}, folder / "beside")
    safetensors.torch.save_file(weights, folder / "safetensors", {"num_classes": "3"})
    return {name: (folder / name).read_bytes() for name in FORMATS}


def outcome(path: Path) -> Checkpoint | CheckpointError:
    try:
        checkpoint = load_checkpoint(path)
        identify(checkpoint)
    except CheckpointError as error:
        return error
    return checkpoint


def check(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    found = outcome(path)
    assert isinstance(found, Checkpoint) or (found.what and found.remedy)


FUZZ = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@FUZZ
@given(name=st.sampled_from(FORMATS), share=st.floats(0, 1))
def test_a_cut_file_never_escapes(originals, tmp_path, name, share):
    data = originals[name]
    check(tmp_path / "model.pt", data[: int(len(data) * share)])


@FUZZ
@given(
    name=st.sampled_from(FORMATS),
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=4)),
                   min_size=1, max_size=6),
    early=st.booleans(),
)  # fmt: skip
def test_a_mutated_file_never_escapes(originals, tmp_path, name, edits, early):
    data = bytearray(originals[name])
    # Pickle opcodes and headers, which lie in front, are where a byte does most.
    reach = min(len(data), 600) if early else len(data)
    for place, replacement in edits:
        start = int(place * reach)
        data[start : start + len(replacement)] = replacement
    check(tmp_path / "model.pt", bytes(data))


@FUZZ
@given(data=st.binary(max_size=200))
@example(data=b"PK\x03\x04")
@example(data=b"\x80\x02.")
@example(data=b"\x80\x02}q\x00.")
@example(data=b"\xff\xff\xff\xff\xff\xff\xff\x7f{}")
@example(data=b"\x02\0\0\0\0\0\0\0{}")
def test_arbitrary_bytes_never_escape(tmp_path, data):
    check(tmp_path / "model.safetensors", data)
