"""Flags and a config.json are held against what the weights are."""

from __future__ import annotations

import pytest
import torch

from ghostedge_convert import Checkpoint, CheckpointConfig, detect_architecture, identify
from ghostedge_convert.architectures.ghostnet import GhostNet
from ghostedge_runtime.errors import CheckpointError, InputError
from ghostedge_runtime.metadata import ArchitectureInfo, Source


def checkpoint_of(weights: dict[str, torch.Tensor], **config: object) -> Checkpoint:
    given_config = CheckpointConfig(**config) if config else None
    return Checkpoint(weights, given_config, Source("model.pt", "0" * 64), ())


def weights_of(width: float = 1.0, num_classes: int = 10) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        return dict(GhostNet(width=width, num_classes=num_classes).state_dict())


def refusal(weights: dict[str, torch.Tensor], **options: object) -> CheckpointError:
    with pytest.raises(CheckpointError) as raised:
        identify(checkpoint_of(weights), **options)
    assert raised.value.where == "model.pt"
    return raised.value


@pytest.mark.parametrize(
    "said",
    [{"arch": "ghostnet"}, {"arch": "ghostnet_130"}, {"arch": "GhostNet_130", "width": 1.3},
     {"width": 1.3, "num_classes": 7}],
)  # fmt: skip
def test_what_is_said_and_agrees_is_taken(said):
    found = identify(checkpoint_of(weights_of(1.3, 7)), **said)
    assert found == ArchitectureInfo("ghostnet_130", "ghostnet", 1.3, 7)


def test_a_width_that_gives_the_same_shapes_is_taken_as_said():
    assert identify(checkpoint_of(weights_of(1.0)), width=1.001).width == 1.001


@pytest.mark.parametrize("said", [{"width": 0.5}, {"arch": "ghostnet_050"}])
def test_another_width_than_the_shapes_have_is_refused_with_both(said):
    what = refusal(weights_of(1.0), **said).what
    assert "width 0.5 is given, at which conv_stem.weight is 8 × 3 × 3 × 3" in what
    assert "in the file it is 16 × 3 × 3 × 3: width 1.0" in what


def test_another_number_of_classes_than_the_classifier_has_is_refused_with_both():
    what = refusal(weights_of(1.0, 10), num_classes=1000).what
    assert "num_classes is given as 1000" in what
    assert "classifier.weight is 10 × 1280: 10 classes" in what


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"arch": "ghosnet_100"}, "did you mean ghostnet_100"),
        ({"arch": "resnet50"}, "there is no architecture 'resnet50'"),
        ({"arch": "ghostnet_x"}, "there is no architecture"),
        ({"arch": "ghostnetv4"}, "did you mean ghostnetv3?"),
        ({"arch": "ghostnet_100", "width": 1.3}, "ghostnet_100 is of width 1.0"),
        ({"width": 0}, "0 is not a positive number"),
        ({"width": float("nan")}, "nan is not a positive number"),
        ({"num_classes": -3}, "-3 is not a positive number"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(said, message):
    with pytest.raises(InputError) as raised:
        identify(checkpoint_of(weights_of()), **said)
    assert message in str(raised.value)


def test_a_config_of_another_member_is_refused():
    with pytest.raises(CheckpointError, match=r"says ghostnet_050.*weights are of ghostnet_100"):
        identify(checkpoint_of(weights_of(), architecture="ghostnet_050"))


def test_a_config_of_other_classes_is_refused():
    with pytest.raises(CheckpointError, match="speaks of 1000 classes, but the weights are of 10"):
        identify(checkpoint_of(weights_of(), num_classes=1000))


def test_labels_of_other_classes_are_refused():
    with pytest.raises(CheckpointError, match="speaks of 2 classes, but the weights are of 10"):
        identify(checkpoint_of(weights_of(), labels=("cat", "dog")))


def test_a_stale_config_is_passed_over_where_flags_state_what_is_right():
    stale = checkpoint_of(
        weights_of(), architecture="ghostnet_050", num_classes=1000, labels=("cat", "dog")
    )
    found = detect_architecture(stale, arch="ghostnet_100", num_classes=10)
    assert found.architecture == ArchitectureInfo("ghostnet_100", "ghostnet", 1.0, 10)
    assert found.evidence[-2:] == (
        "config.json speaks of 1000 classes, but the weights are of 10; passed over, since the "
        "flags say so too",
        "config.json says ghostnet_050, but the weights are of ghostnet_100; passed over, since "
        "the flags say so too",
    )


def test_a_config_with_a_name_of_its_own_is_noted():
    detection = detect_architecture(checkpoint_of(weights_of(), architecture="my_net"))
    assert detection.evidence[-1] == (
        "config.json calls it 'my_net', a name that is not of the family"
    )
