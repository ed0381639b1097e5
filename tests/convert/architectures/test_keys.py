"""A classifier under another key, and batch norms inside fused convolutions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ghostedge_convert import Checkpoint, build, detect_architecture
from ghostedge_convert.architectures.family import empty_network
from ghostedge_convert.architectures.ghostnet import GhostNet
from ghostedge_convert.architectures.table import FAMILIES
from ghostedge_runtime.errors import CheckpointError
from ghostedge_runtime.metadata import Source

HEADS = ("classifier.1", "classifier.2", "classifier.fc", "fc", "head", "head.fc", "linear",
         "last_linear", "heads.0")  # fmt: skip


def trained(make=GhostNet, **options) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    options.setdefault("width", 0.5)
    return make(num_classes=5, **options).state_dict()


def renamed(weights, name: str, own: str = "classifier") -> dict[str, torch.Tensor]:
    """The weights with their classifier under another name."""
    return {
        f"{name}.{key.rpartition('.')[2]}" if key.startswith(f"{own}.") else key: value
        for key, value in weights.items()
    }


def checkpoint(weights) -> Checkpoint:
    return Checkpoint(weights, None, Source("w.pt", ""), ())


def scores(weights) -> torch.Tensor:
    made = checkpoint(weights)
    network = build(made, detect_architecture(made).architecture)
    with torch.no_grad():
        found: torch.Tensor = network(torch.linspace(-2, 2, 3 * 64 * 64).reshape(1, 3, 64, 64))
    return found


def refusal(weights) -> CheckpointError:
    with pytest.raises(CheckpointError) as raised:
        detect_architecture(checkpoint(weights))
    return raised.value


@pytest.mark.parametrize("name", HEADS)
def test_a_classifier_of_another_name_is_the_same_network(name: str) -> None:
    weights = trained()
    changed = renamed(weights, name)
    assert torch.equal(scores(changed), scores(weights))
    note = f"took {name} for the classifier: it is 5 × 1280, with a bias"
    assert note in detect_architecture(checkpoint(changed)).evidence


def test_the_note_is_not_made_of_a_classifier_that_has_its_own_name() -> None:
    evidence = detect_architecture(checkpoint(trained())).evidence
    assert not any("for the classifier" in line for line in evidence)


@pytest.mark.parametrize(
    ("family", "form"),
    [
        pytest.param(family, form, id=f"{family.name} {form.title}".strip())
        for family in FAMILIES.values()
        for form in family.forms
    ],
)
def test_every_member_in_every_form_may_have_it(family, form) -> None:
    size = family.sizes.named(family.sizes.published[0])
    weights = dict(empty_network(form, size, 5).state_dict())
    own = family.classifier.removesuffix(".weight")
    for name in ("head.1", "classifier.9"):
        found = detect_architecture(checkpoint(renamed(weights, name, own)), arch=family.name)
        assert found.architecture.family == family.name
        assert found.architecture.num_classes == 5
        assert any(line.startswith(f"took {name} for the classifier") for line in found.evidence)


def test_a_pointwise_convolution_on_the_pooled_features_is_a_dense_layer() -> None:
    weights = trained()
    as_conv = {**weights, "classifier.weight": weights["classifier.weight"][:, :, None, None]}
    assert torch.equal(scores(as_conv), scores(weights))
    assert torch.equal(scores(renamed(as_conv, "head.1")), scores(weights))


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ({"0": nn.Linear(1280, 64), "3": nn.Linear(64, 5)}, "more than one dense layer"),
        ({"0": nn.Linear(1280, 1280), "2": nn.Linear(1280, 5)}, "more than one dense layer"),
        ({"0": nn.BatchNorm1d(1280), "1": nn.Linear(1280, 5)}, "more than one dense layer"),
        ({"1": nn.Linear(640, 5)}, "reads other than the 1280 features"),
        ({"1": nn.Linear(1280, 5, bias=False)}, "has no bias"),
    ],
)
@pytest.mark.parametrize("name", ["classifier", "head"])
def test_another_head_than_one_dense_layer_is_refused_with_the_way_out(head, words, name) -> None:
    weights = {k: v for k, v in trained().items() if not k.startswith("classifier.")}
    weights.update({f"{name}.{k}": v for k, v in nn.ModuleDict(head).state_dict().items()})
    error = refusal(weights)
    assert words in error.what
    assert f"{name}." in error.what
    assert "--factory FILE.py:FUNCTION" in str(error.remedy)


def test_the_own_key_with_another_width_is_refused_likewise() -> None:
    weights = {**trained(), "classifier.weight": torch.zeros(5, 640)}
    error = refusal(weights)
    assert "reads other than the 1280 features" in error.what
    assert "--factory" in str(error.remedy)


def test_a_network_without_any_classifier_is_missing_it() -> None:
    weights = {k: v for k, v in trained().items() if not k.startswith("classifier.")}
    error = refusal(weights)
    assert "all of a GhostNet V1 but its classifier, classifier.weight" in error.what
    assert "--factory" in str(error.remedy)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_batch_norms_inside_fused_convolutions_go_where_they_were() -> None:
    """As eager quantization-aware training of torch.ao leaves them."""
    torch.manual_seed(0)
    network = GhostNet(width=0.5, num_classes=5)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    weights = network.state_dict()
    network.train()
    ghost = "blocks.4.0.ghost1.primary_conv"
    pairs = [["conv_stem", "bn1"], [f"{ghost}.0", f"{ghost}.1", f"{ghost}.2"],
             ["blocks.3.0.conv_dw", "blocks.3.0.bn_dw"]]  # fmt: skip
    fused = torch.ao.quantization.fuse_modules_qat(network, pairs)
    fused.qconfig = torch.ao.quantization.get_default_qat_qconfig("qnnpack")
    prepared = torch.ao.quantization.prepare_qat(fused)
    left = {
        key: value
        for key, value in prepared.state_dict().items()
        if "fake_quant" not in key and "activation_post_process" not in key
    }
    assert "conv_stem.bn.running_mean" in left
    assert torch.equal(scores(left), scores(weights))
    evidence = detect_architecture(checkpoint(left)).evidence
    assert "took 3 batch norms out of the convolutions that torch.ao fused them into" in evidence
