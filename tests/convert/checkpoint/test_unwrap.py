"""What training scripts put around weights, taken off."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ghostedge_convert.checkpoint.networks import ignored
from ghostedge_convert.checkpoint.unwrap import Unwrapped, listed, unwrap
from ghostedge_runtime.errors import CheckpointError

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


# Wrappers.


def test_what_stands_beside_the_weights_is_named() -> None:
    content = {
        "epoch": 90,
        "state_dict": weights(),
        "optimizer": {"state": {}, "param_groups": []},
        "lr_scheduler": {"last_epoch": 90},
        "best_acc1": torch.tensor(73.9),
    }
    assert taken(content).notes == (
        "took the weights under 'state_dict'",
        "ignored epoch, optimizer, lr_scheduler, best_acc1",
    )


def test_a_wrapper_inside_a_wrapper_is_taken_off_too() -> None:
    found = taken({"checkpoint": 1, "model": {"state_dict": weights(), "arch": "ghostnet"}})
    assert value_of(found) == 1
    assert found.notes[0] == "took the weights under 'model' → 'state_dict'"


def test_a_wrapper_without_weights_does_not_hide_one_with() -> None:
    found = taken({"model": {"name": "ghostnet_100", "width": 1.0}, "net": weights(3)})
    assert value_of(found) == 3


@pytest.mark.parametrize("name", ["state_dict_ema", "model_ema", "ema_state_dict", "ema"])
def test_averaged_weights_are_found_by_each_of_their_names(name: str) -> None:
    content = {"model": weights(1), name: weights(2)}
    assert value_of(taken(content)) == 1
    assert value_of(taken(content, ema=True)) == 2


# Prefixes.


# Lightning.


def lightning(**state: torch.Tensor) -> dict[str, object]:
    return {"pytorch-lightning_version": "2.5.0", "epoch": 3, "global_step": 9,
            "optimizer_states": [], "state_dict": state}  # fmt: skip


def test_a_lightning_checkpoint_is_the_network_inside_its_module() -> None:
    found = taken(lightning(**prefixed("model.")))
    assert value_of(found) == 1
    assert found.prefix == "model."


def test_losses_and_metrics_of_a_lightning_module_stand_beside_and_are_named() -> None:
    state = {**prefixed("net."), "criterion.weight": torch.ones(3), "acc.total": torch.ones(1)}
    found = taken(lightning(**state))
    assert value_of(found) == 1
    assert list(found.beside) == ["criterion.weight", "acc.total"]
    assert ignored(found.beside) == ["ignored the module's acc, criterion"]


def test_an_averaged_network_beside_the_network_is_taken_where_asked_for() -> None:
    content = lightning(**prefixed("model.", 1), **prefixed("ema_model.module.", 2))
    plain, average = taken(content), taken(content, ema=True)
    assert value_of(plain) == 1
    assert any("under 'ema_model.': --ema takes that" in note for note in plain.notes)
    assert value_of(average) == 2


def test_an_average_is_not_made_up_of_a_lightning_module_without_one() -> None:
    with pytest.raises(CheckpointError, match="no averaged weights"):
        taken(lightning(**prefixed("model.")), ema=True)


# Classes.


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("class_to_idx", {"dog": 1, "cat": 0}),
        ("class_map", {0: "cat", 1: "dog"}),
        ("idx_to_class", {"1": "dog", "0": "cat"}),
        ("classes", ["cat", "dog"]),
        ("names", ("cat", "dog")),
    ],
)
def test_a_plain_class_map_gives_the_labels(key: str, value: object) -> None:
    found = taken({"model_state": weights(), key: value})
    assert found.labels == ("cat", "dog")
    assert f"took 2 class names from {key!r}" in found.notes
    assert not any("ignored" in note for note in found.notes)


@pytest.mark.parametrize(
    "value",
    [{"cat": 0, "dog": 2}, {"cat": [0], "dog": [1]}, ["cat", 1], "cat", {}, [], {"cat": True}, 3,
     {0: "cat", "0": "dog"}],
)  # fmt: skip
def test_anything_else_under_such_a_name_is_ignored_and_named(value: object) -> None:
    found = taken({"model_state": weights(), "class_map": value})
    assert found.labels is None
    assert "ignored class_map" in found.notes


# Names that a terminal would act on.


def test_control_characters_of_a_files_keys_do_not_reach_the_terminal() -> None:
    found = taken({"state_dict": weights(), "\x1b[2Jepoch\n": 1})
    assert found.notes[-1] == "ignored ?[2Jepoch?"


def test_many_names_are_counted() -> None:
    assert listed([f"m.C{n}" for n in range(10)], 2) == "m.C0, m.C1 and 8 more"
