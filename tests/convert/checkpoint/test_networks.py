"""One of the networks in a file, whatever stands before its keys and beside it."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from ghostedge_convert import Checkpoint, build, identify, load_checkpoint
from ghostedge_convert.architectures.gghost_regnet import GGhostRegNet
from ghostedge_convert.architectures.ghostnet import GhostNet
from ghostedge_runtime.errors import CheckpointError

Weights = dict[str, torch.Tensor]


@cache
def of_ghostnet(seed: int = 0) -> Weights:
    torch.manual_seed(seed)
    return dict(GhostNet(width=0.1, num_classes=5).state_dict())


def under(prefix: str, weights: Weights) -> Weights:
    return {prefix + key: value for key, value in weights.items()}


def headless(seed: int = 0) -> Weights:
    return {k: v for k, v in of_ghostnet(seed).items() if not k.startswith("classifier.")}


def head(name: str, seed: int = 0) -> Weights:
    own = of_ghostnet(seed)
    return {f"{name}.{part}": own[f"classifier.{part}"] for part in ("weight", "bias")}


def loaded(tmp_path, content: object, **options) -> Checkpoint:
    torch.save(content, tmp_path / "w.pt")
    return load_checkpoint(tmp_path / "w.pt", **options)


def refusal(tmp_path, content: object, **options) -> CheckpointError:
    with pytest.raises(CheckpointError) as raised:
        loaded(tmp_path, content, **options)
    return raised.value


def is_network(found: Checkpoint, seed: int = 0) -> bool:
    """Whether the checkpoint is built to that GhostNet."""
    built = build(found, identify(found)).state_dict()
    return all(torch.equal(built[key], value) for key, value in of_ghostnet(seed).items())


@pytest.mark.parametrize(
    "prefix",
    ["backbone.", "encoder.", "timm_model.", "model.model.", "net.", "student.model.", "a.b.c.",
     "module.backbone.0."],
)  # fmt: skip
def test_any_prefix_before_all_keys_is_dropped_and_said(tmp_path, prefix) -> None:
    found = loaded(tmp_path, {"state_dict": under(prefix, of_ghostnet())})
    assert is_network(found)
    assert found.prefix == prefix
    assert any("dropped the prefix" in note for note in found.notes)


def test_the_prefix_of_a_regnet_is_dropped_too(tmp_path) -> None:
    weights = GGhostRegNet(member=2, num_classes=3).state_dict()
    found = loaded(tmp_path, under("trunk.", weights))
    assert identify(found).name == "g_ghost_regnetx_002"


@pytest.mark.parametrize("prefix", ["backbone.", "encoder.", "model.features."])
@pytest.mark.parametrize("name", ["head", "fc", "classifier.1", "model.head.fc"])
@pytest.mark.parametrize("lightning", [False, True])
def test_a_head_outside_the_prefix_is_taken_with_it(tmp_path, prefix, name, lightning) -> None:
    state = {**under(prefix, headless()), **head(name)}
    content = {"state_dict": state, **({"pytorch-lightning_version": "2"} if lightning else {})}
    found = loaded(tmp_path, content)
    assert is_network(found)


def test_losses_beside_an_outside_head_do_not_matter(tmp_path) -> None:
    state = {**under("backbone.", headless()), **head("head"), "criterion.weight": torch.ones(5)}
    found = loaded(tmp_path, state)
    assert is_network(found)
    assert "ignored the module's criterion" in found.notes


def test_layers_between_the_network_and_its_outside_head_are_refused(tmp_path) -> None:
    neck = {f"neck.{k}": v for k, v in nn.BatchNorm1d(1280).state_dict().items()}
    found = loaded(tmp_path, {**under("backbone.", headless()), **neck, **head("head")})
    with pytest.raises(CheckpointError, match=r"more than one dense layer.*neck\.weight"):
        identify(found)


def test_a_head_inside_and_one_outside_are_refused_until_the_prefix_is_given(tmp_path) -> None:
    state = {**under("backbone.", of_ghostnet()), "head.weight": torch.ones(3, 1280)}
    error = refusal(tmp_path, state)
    assert "head.weight, and nothing tells whether that is computed with" in error.what
    assert "--key-prefix backbone" in str(error.remedy)
    assert is_network(loaded(tmp_path, state, key_prefix="backbone"))


@pytest.mark.parametrize(
    "beside",
    [
        {"0.mean": torch.ones(1, 3, 1, 1), "0.std": torch.ones(1, 3, 1, 1)},
        {"2.weight": torch.ones(4, 5), "2.bias": torch.ones(4)},
        {"neck.weight": torch.ones(8, 8, 3, 3)},
    ],
)
def test_layers_beside_a_whole_network_are_not_passed_over(tmp_path, beside) -> None:
    state = {**under("1.", of_ghostnet()), **beside}
    assert next(iter(beside)) in refusal(tmp_path, state).what
    assert is_network(loaded(tmp_path, state, key_prefix="1"))


def test_counters_and_losses_beside_a_whole_network_are(tmp_path) -> None:
    counters = {"step": torch.tensor([3]), "initted": torch.tensor([True]),
                "temperature": torch.tensor(0.1), "criterion.weight": torch.ones(5)}  # fmt: skip
    found = loaded(tmp_path, {**under("online_model.", of_ghostnet()), **counters})
    assert is_network(found)
    assert "ignored the module's criterion, initted, step, temperature" in found.notes


@pytest.mark.parametrize(
    ("student", "teacher"),
    [
        ("student.", "teacher."), ("online_encoder.", "target_encoder."), ("model.", "ema_model."),
        ("encoder_q.", "encoder_k."), ("net.student.", "net.teacher."), ("", "teacher."),
        ("student.backbone.", "teacher.backbone."), ("model.", "teacher.model."),
        ("network.", "ema.module."),
    ],
)  # fmt: skip
def test_the_student_of_a_pair_is_taken_and_either_can_be_chosen(tmp_path, student, teacher):
    content = {**under(student, of_ghostnet(0)), **under(teacher, of_ghostnet(1))}
    found = loaded(tmp_path, content)
    assert is_network(found, 0)
    assert any("--key-prefix" in note and "takes that" in note for note in found.notes)
    for key_prefix in (teacher, teacher.rstrip(".")):
        assert is_network(loaded(tmp_path, content, key_prefix=key_prefix), 1)
    if student:
        assert is_network(loaded(tmp_path, content, key_prefix=student), 0)


def test_of_a_network_and_its_average_the_flag_takes_the_average(tmp_path) -> None:
    content = {"state_dict": {**under("net.", of_ghostnet(0)), **under("ema.", of_ghostnet(1))}}
    assert is_network(loaded(tmp_path, content), 0)
    assert is_network(loaded(tmp_path, content, ema=True), 1)


def test_a_pair_may_be_two_entries_of_the_file(tmp_path) -> None:
    optimizer = {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": []}
    content = {"student": of_ghostnet(0), "teacher": of_ghostnet(1), "optimizer": optimizer}
    assert is_network(loaded(tmp_path, content), 0)
    assert is_network(loaded(tmp_path, content, key_prefix="teacher"), 1)


def test_an_entry_beside_the_model_can_be_chosen(tmp_path) -> None:
    content = {"model": of_ghostnet(0), "teacher": of_ghostnet(1)}
    assert is_network(loaded(tmp_path, content), 0)
    assert is_network(loaded(tmp_path, content, key_prefix="teacher"), 1)


def test_a_backbone_and_its_head_may_be_two_entries(tmp_path) -> None:
    content = {"backbone": headless(), "head": {"weight": head("h")["h.weight"],
                                                "bias": head("h")["h.bias"]}}  # fmt: skip
    assert is_network(loaded(tmp_path, content))


def test_a_teacher_of_another_kind_is_ignored(tmp_path) -> None:
    teacher = {"teacher.fc.weight": torch.ones(5, 2048), "teacher.conv1.weight": torch.ones(3)}
    assert is_network(loaded(tmp_path, {**under("student.", of_ghostnet()), **teacher}))


def test_two_networks_of_names_that_tell_nothing_are_refused_naming_both(tmp_path) -> None:
    content = {**under("left.", of_ghostnet(0)), **under("right.", of_ghostnet(1))}
    error = refusal(tmp_path, content)
    assert "'left.', 'right.'" in error.what
    assert "--key-prefix left" in str(error.remedy)
    assert is_network(loaded(tmp_path, content, key_prefix="right"), 1)


@pytest.mark.parametrize(
    ("content", "key_prefix", "words"),
    [
        (under("student.", of_ghostnet()), "teacher", "no key begins with 'teacher'"),
        (of_ghostnet(), "student", "no key begins with 'student'"),
        (of_ghostnet(), "blocks", "no network of the family under 'blocks'"),
    ],
)
def test_a_prefix_without_a_network_is_refused(tmp_path, content, key_prefix, words) -> None:
    error = refusal(tmp_path, content, key_prefix=key_prefix)
    assert words in error.what
    assert error.remedy


def test_quantizers_beside_the_network_do_not_hide_its_prefix(tmp_path) -> None:
    stubs = {"quant.activation_post_process.zero_point": torch.zeros(1, dtype=torch.int32),
             "quant.activation_post_process.min_val": torch.tensor(float("inf"))}  # fmt: skip
    found = loaded(tmp_path, {**under("module.", of_ghostnet()), **stubs})
    assert is_network(found)
    assert any("observers" in note for note in found.notes)


def test_a_pruned_network_is_loaded_as_it_computes(tmp_path) -> None:
    network = GhostNet(width=0.1, num_classes=5)
    network.load_state_dict(of_ghostnet())
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            prune.l1_unstructured(module, "weight", amount=0.5)
    found = loaded(tmp_path, {"model": network.state_dict()})
    built = build(found, identify(found))
    assert torch.equal(built.conv_stem.weight, network.conv_stem.weight.detach())
    assert any("pruning" in note for note in found.notes)
