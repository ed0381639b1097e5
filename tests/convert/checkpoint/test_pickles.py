"""What a pickle mentions is read from its opcodes, without running any."""

from __future__ import annotations

import io
import pickle
from argparse import Namespace
from collections import OrderedDict

import pytest
import torch

from ghostedge_convert.checkpoint.pickles import scan_pickle


class Harmful:
    """Pickled as a call."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("1/0",)


def torch_file(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_call_is_named_in_every_protocol_and_not_made(protocol):
    content = scan_pickle(pickle.dumps({"weights": 1, "x": Harmful()}, protocol=protocol))
    assert content.wanted in (("builtins.eval",), ("__builtin__.eval",))
    assert content.is_refused
    assert "weights" in content.strings
    assert content.protocol == protocol


def test_a_plain_state_dict_and_types_with_stand_ins_want_nothing():
    content = scan_pickle(torch_file(OrderedDict(a=torch.ones(2), args=Namespace(lr=0.1))))
    assert content.wanted == ()
    assert not content.is_refused


def test_a_newer_protocol_is_refused_though_it_calls_nothing():
    assert scan_pickle(pickle.dumps({"a": 1}, protocol=4)).is_refused


def test_a_damaged_pickle_is_read_as_far_as_it_goes():
    whole = pickle.dumps({"weights": 1, "x": Harmful()}, protocol=2)
    assert scan_pickle(whole[:-4]).wanted == scan_pickle(whole).wanted
    assert scan_pickle(b"\x80\x02nonsense").wanted == ()
