"""Types that training scripts pickle beside weights: let through, and never constructed."""

from __future__ import annotations

import datetime
import pathlib
import pickle
from argparse import Namespace
from collections import Counter, OrderedDict, defaultdict, deque
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st

from ghostedge_convert import load_checkpoint
from ghostedge_convert.checkpoint import stand_ins
from ghostedge_convert.checkpoint.stand_ins import HARMLESS, NumpyArray, NumpyType, StandIn
from ghostedge_runtime.errors import CheckpointError

WEIGHTS = {"conv_stem.weight": torch.ones(2, 3), "bn1.bias": torch.zeros(2)}
LOADED = {"dog": 1, "cat": 0}
OBJECTS = [
    Namespace(lr=0.1, data=Path("data"), kind=float, nested=Namespace(a=[1, 2])),
    SimpleNamespace(epochs=3),
    pathlib.PurePosixPath("a/b"),
    pathlib.PureWindowsPath("a\\b"),
    defaultdict(list, {"loss": [1.0, 2.0]}),
    defaultdict(dict),
    deque([1, 2, 3], maxlen=5),
    Counter("aab"),
    OrderedDict(a=1),
    datetime.datetime(2024, 5, 1, 12, 30, tzinfo=datetime.timezone.utc),
    datetime.date(2024, 5, 1),
    datetime.timedelta(days=1),
    np.float64(73.9),
    np.int64(3),
    np.bool_(True),
    np.arange(6.0).reshape(2, 3),
    np.array(["cat", "dog"]),
    np.dtype("float32"),
    torch.__version__,
    torch.float16,
    torch.device("cuda:0"),
    {1, 2},
    frozenset({1}),
    range(3),
    slice(1, 2),
    b"bytes",
    2j,
]


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("beside", OBJECTS, ids=lambda each: type(each).__name__)
def test_weights_load_beside_an_object_of_a_harmless_type(tmp_path, beside, zipped):
    path = tmp_path / "model.pth"
    torch.save({"model": WEIGHTS, "beside": beside}, path,
               _use_new_zipfile_serialization=zipped)  # fmt: skip
    found = load_checkpoint(path)
    assert list(found.weights) == list(WEIGHTS)
    assert found.notes == ("took the weights under 'model'", "ignored beside")


def test_all_of_them_load_together(tmp_path):
    path = tmp_path / "model.pth"
    torch.save({"state_dict": WEIGHTS, "args": Namespace(all=OBJECTS), "class_map": LOADED}, path)
    found = load_checkpoint(path)
    assert list(found.weights) == list(WEIGHTS)
    assert found.config is not None
    assert found.config.labels == ("cat", "dog")


class Custom:
    pass


def test_a_class_that_is_not_listed_is_refused_by_its_name_alone(tmp_path):
    path = tmp_path / "model.pth"
    torch.save({"model": WEIGHTS, "args": Namespace(custom=Custom(), of=np.float64(1))}, path)
    with pytest.raises(CheckpointError) as raised:
        load_checkpoint(path)
    assert raised.value.what.endswith(f"run code of {__name__}.Custom")


def test_nothing_that_is_let_through_is_the_real_thing():
    ours = [value for value in HARMLESS.values() if value.__module__ == stand_ins.__name__]
    assert len(ours) == len(HARMLESS)


def test_the_stand_ins_leave_no_trace_in_torchs_own_list(tmp_path):
    path = tmp_path / "model.pth"
    torch.save({"model": WEIGHTS, "args": Namespace()}, path)
    before = set(torch.serialization.get_safe_globals())
    load_checkpoint(path)
    assert set(torch.serialization.get_safe_globals()) == before
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)


def test_an_object_alone_is_no_weights(tmp_path):
    path = tmp_path / "model.pth"
    torch.save(Namespace(a=1), path)
    with pytest.raises(CheckpointError, match="it holds a Namespace, not weights by name"):
        load_checkpoint(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_weights_that_are_numpy_arrays_become_tensors(tmp_path, zipped):
    path = tmp_path / "model.pth"
    arrays = {"conv_stem.weight": np.asfortranarray(np.arange(24, dtype=">f4").reshape(2, 3, 4)),
              "bn1.bias": np.float64([1, 2]), "bn1.num_batches_tracked": np.array(3)}  # fmt: skip
    torch.save({"state_dict": arrays}, path, _use_new_zipfile_serialization=zipped)
    found = load_checkpoint(path)
    assert found.weights["conv_stem.weight"].tolist() == arrays["conv_stem.weight"].tolist()
    assert found.weights["bn1.bias"].dtype == torch.float32
    assert found.weights["bn1.num_batches_tracked"].shape == ()
    assert "3 of its weights were numpy arrays" in found.notes


@pytest.mark.parametrize("protocol", [4, 5])
def test_a_newer_pickle_protocol_is_named(tmp_path, protocol):
    path = tmp_path / "model.pth"
    torch.save(WEIGHTS, path, pickle_protocol=protocol)
    with pytest.raises(CheckpointError) as raised:
        load_checkpoint(path)
    assert f"pickle of protocol {protocol}" in raised.value.what
    assert "--unsafe-pickle" in str(raised.value.remedy)


def test_the_names_in_a_newer_protocol_are_seen(tmp_path):
    path = tmp_path / "model.pth"
    content = {"a": Custom(), "b": Custom(), "c": Namespace(), "d": pathlib.PurePosixPath("x")}
    torch.save(content, path, pickle_protocol=4)
    with pytest.raises(CheckpointError) as raised:
        load_checkpoint(path)
    assert raised.value.what.endswith(f"run code of {__name__}.Custom")


# numpy's states are read here, not by numpy: whatever they say.


@settings(max_examples=80, deadline=None)
@given(
    array=np_st.arrays(
        st.sampled_from(["<f4", ">f4", "<f8", "<i8", ">i2", "|u1", "<f2", "|b1"]),
        np_st.array_shapes(min_dims=0, min_side=0, max_side=4),
        elements={"allow_nan": False},
    ),
    fortran=st.booleans(),
)
def test_an_array_is_what_numpy_makes_of_its_state(array, fortran):
    array = np.asfortranarray(array) if fortran else array
    kind = NumpyType(array.dtype.str[1:])
    kind.__setstate__((3, array.dtype.str[0]))
    state = array.__reduce__()[2]
    found = NumpyArray()
    found.__setstate__((*state[:2], kind, *state[3:]))
    assert found.tensor is not None
    assert found.tensor.tolist() == array.tolist()


ANYTHING = st.one_of(
    st.none(),
    st.integers(-3, 5),
    st.binary(max_size=16),
    st.text(max_size=3),
    st.tuples(st.integers(-2, 4), st.integers(-2, 4)),
    st.just(NumpyType("f4")),
    st.just(NumpyType("O8")),
    st.builds(StandIn),
)


@settings(max_examples=200, deadline=None)
@given(state=st.one_of(ANYTHING, st.tuples(*[ANYTHING] * 5)))
def test_an_array_of_any_other_state_has_no_values_or_as_many_as_its_shape(state):
    found = NumpyArray()
    found.__setstate__(state)
    assert found.tensor is None or list(found.tensor.shape) == list(state[1] or ())
    NumpyType("f4").__setstate__(state)
    value = stand_ins.number(state, state)
    assert value is None
