"""What wrappers around a network put before its keys is dropped, and no more."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ghostedge_convert.checkpoint.prefixes import under_keys_of
from ghostedge_convert.checkpoint.unwrap import Unwrapped, unwrap

WHERE = Path("model.pt")


def weights(value: float = 1.0) -> dict[str, torch.Tensor]:
    return {"conv_stem.weight": torch.full((2, 3), value), "bn1.bias": torch.full((2,), value)}


def prefixed(prefix: str, value: float = 1.0) -> dict[str, torch.Tensor]:
    return {prefix + key: tensor for key, tensor in weights(value).items()}


def taken(content: object, *, ema: bool = False) -> Unwrapped:
    return unwrap(content, ema=ema, where=WHERE)


def value_of(found: Unwrapped) -> float:
    """The number that all the weights are, after a check of their keys."""
    assert list(found.weights) == list(weights())
    (value,) = {float(each) for tensor in found.weights.values() for each in tensor.flatten()}
    return value


def test_a_model_ema_of_timm_loses_the_prefix_of_its_module() -> None:
    found = taken({"state_dict": weights(1), "state_dict_ema": prefixed("module.", 2)}, ema=True)
    assert value_of(found) == 2
    assert found.prefix == "module."


def test_an_average_of_a_distributed_module_loses_both_prefixes() -> None:
    found = taken({"state_dict_ema": prefixed("module.module.")}, ema=True)
    assert value_of(found) == 1
    assert found.prefix == "module.module."


def test_the_count_of_an_averaged_model_does_not_hide_its_prefix() -> None:
    content = {"model_ema": {"n_averaged": torch.tensor(9), **prefixed("module.", 2)}}
    found = taken(content, ema=True)
    assert value_of(found) == 2
    assert "dropped n_averaged, the count of updates of an averaged model" in found.notes


@pytest.mark.parametrize(
    "prefix", ["module.", "model.", "net.", "network.", "backbone.", "_model."]
)
def test_a_customary_prefix_of_every_key_is_dropped_and_named(prefix: str) -> None:
    found = taken({"state_dict": prefixed(prefix)})
    assert value_of(found) == 1
    assert found.prefix == prefix
    assert found.notes[-1] == f"dropped the prefix {prefix!r} of every key"


def test_a_prefix_that_not_every_key_has_stays() -> None:
    content = {**prefixed("model."), "classifier.bias": torch.zeros(1)}
    found = taken(content)
    assert list(found.weights) == list(content)
    assert found.prefix == ""


def test_a_prefix_of_no_custom_stays() -> None:
    assert list(taken(prefixed("blocks.")).weights) == list(prefixed("blocks."))


def test_what_compilation_puts_inside_keys_is_dropped() -> None:
    found = taken({"conv_stem._orig_mod.weight": torch.ones(2, 3), "bn1.bias": torch.ones(2)})
    assert value_of(found) == 1
    assert found.notes == ("dropped '_orig_mod.' from the keys",)


def test_thops_counters_are_named_and_dropped_at_every_depth() -> None:
    counted = {**weights(), "total_ops": torch.zeros(1), "total_params": torch.zeros(1),
               "blocks.0.total_ops": torch.zeros(1)}  # fmt: skip
    found = taken({"state_dict": counted})
    assert value_of(found) == 1
    assert found.notes[-1] == "dropped the counters that thop left: total_ops ×2, total_params ×1"


def test_thops_counters_outside_the_prefix_do_not_keep_it() -> None:
    found = taken({**prefixed("module."), "total_ops": torch.zeros(1)})
    assert value_of(found) == 1


@pytest.mark.parametrize("own", ["", "model.", "module.model."])
def test_a_network_that_has_the_prefix_itself_gets_it_back(own: str) -> None:
    found = taken({"state_dict": prefixed("module.model.")})
    assert list(under_keys_of(found.weights, found.prefix, prefixed(own))) == list(prefixed(own))


def test_a_network_of_other_keys_gets_no_prefix() -> None:
    found = taken({"state_dict": prefixed("model.")})
    assert list(under_keys_of(found.weights, found.prefix, {"other"})) == list(weights())


def test_any_common_prefix_that_a_network_lacks_is_dropped_for_it() -> None:
    found = taken(prefixed("trunk.part."))
    assert list(under_keys_of(found.weights, found.prefix, weights())) == list(weights())
    own = list(prefixed("part."))
    assert list(under_keys_of(found.weights, found.prefix, own)) == own
    assert list(under_keys_of(found.weights, found.prefix, {"x"})) == list(found.weights)
