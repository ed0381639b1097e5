"""What a safetensors header and a class map say, beside or without a config.json."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from ghostedge_convert import (
    Checkpoint,
    detect_architecture,
    identify,
    load_checkpoint,
    resolve_preprocessing,
)
from ghostedge_convert.architectures.ghostnet import GhostNet
from ghostedge_runtime.errors import CheckpointError
from ghostedge_runtime.metadata import Preprocessing

WEIGHTS = {"conv_stem.weight": torch.ones(2, 3)}
TRAINED = {"input_size": [3, 96, 96], "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}


@pytest.fixture
def loaded(tmp_path: Path):
    """The checkpoint of a safetensors file with this metadata."""

    def load(**metadata: str) -> Checkpoint:
        path = tmp_path / "model.safetensors"
        safetensors.torch.save_file(WEIGHTS, path, metadata)
        return load_checkpoint(path)

    return load


def test_a_file_without_metadata_says_nothing(loaded):
    assert loaded().config is None
    assert loaded().notes == ()


def test_metadata_that_is_of_no_use_is_shown(loaded):
    found = loaded(format="pt", author="me")
    assert found.config is None
    (note,) = found.notes
    assert note.startswith("its metadata says ")
    assert "format: pt" in note
    assert "author: me" in note


def test_what_the_metadata_names_is_used_and_said(loaded):
    found = loaded(architecture="ghostnet_100", num_classes="2", label_names='["cat", "dog"]',
                   pretrained_cfg=json.dumps(TRAINED))  # fmt: skip
    assert found.config is not None
    assert found.config.architecture == "ghostnet_100"
    assert found.config.num_classes == 2
    assert found.config.labels == ("cat", "dog")
    assert found.config.preprocessing == Preprocessing(
        (96, 96), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)
    )
    assert found.config.origin == "the safetensors metadata"
    assert found.notes[-1] == (
        "took architecture, num_classes, label_names, pretrained_cfg from its metadata"
    )


def test_a_whole_config_in_the_metadata_is_used(loaded):
    found = loaded(config=json.dumps({"num_classes": 3, "pretrained_cfg": TRAINED}))
    assert found.config is not None
    assert found.config.num_classes == 3
    assert found.config.preprocessing is not None


def test_a_class_map_in_the_metadata_gives_the_labels(loaded):
    found = loaded(class_to_idx='{"dog": 1, "cat": 0}')
    assert found.config is not None
    assert found.config.labels == ("cat", "dog")


@pytest.mark.parametrize(
    "metadata",
    [
        {"label_names": "cat, dog"},
        {"num_classes": "ten"},
        {"pretrained_cfg": "[1]"},
        {"architecture": "ghostnet_100", "id2label": '{"0": "cat", "2": "dog"}'},
    ],
)
def test_malformed_metadata_is_passed_over_with_a_note(loaded, metadata):
    found = loaded(**metadata)
    assert found.config is None
    assert "its metadata was not used: the field" in found.notes[-1]


def test_a_config_json_comes_before_the_metadata(loaded, tmp_path):
    (tmp_path / "config.json").write_text('{"num_classes": 7}')
    found = loaded(num_classes="2", label_names='["cat", "dog"]')
    assert found.config is not None
    assert found.config.num_classes == 7
    assert found.config.labels is None
    assert found.notes[-1] == "config.json comes before its metadata"


def test_a_class_map_beside_the_weights_names_the_classes_where_nothing_else_does(tmp_path):
    path = tmp_path / "model.pt"
    torch.save({"model_state": WEIGHTS, "class_map": {"cat": 0, "dog": 1}}, path)
    config = load_checkpoint(path).config
    assert config is not None
    assert (config.labels, config.labels_origin) == (("cat", "dog"), "the checkpoint's class map")

    (tmp_path / "config.json").write_text('{"num_classes": 2, "architecture": "ghostnet_100"}')
    config = load_checkpoint(path).config
    assert config is not None
    assert config.labels == ("cat", "dog")
    assert (config.architecture, config.origin) == ("ghostnet_100", "config.json")

    (tmp_path / "config.json").write_text('{"label_names": ["x", "y"]}')
    config = load_checkpoint(path).config
    assert config is not None
    assert (config.labels, config.labels_origin) == (("x", "y"), "config.json")


def test_control_characters_of_the_metadata_do_not_reach_the_terminal(loaded):
    (note,) = loaded(note="\x1b[31mred\n").notes
    assert note == "its metadata says note: ?[31mred?"


def test_messages_say_which_of_them_is_wrong(tmp_path):
    weights = GhostNet(width=0.5, num_classes=3).state_dict()
    path = tmp_path / "model.pt"
    torch.save({"model_state": weights, "class_map": {"cat": 0, "dog": 1}}, path)
    checkpoint = load_checkpoint(path)
    with pytest.raises(CheckpointError) as raised:
        identify(checkpoint)
    assert raised.value.what == (
        "the checkpoint's class map speaks of 2 classes, but the weights are of 3"
    )
    assert raised.value.remedy == "pass --num-classes 3 if it belongs to other weights"

    path = tmp_path / "model.safetensors"
    metadata = {"architecture": "ghostnet_050", "pretrained_cfg": json.dumps(TRAINED)}
    safetensors.torch.save_file(weights, path, metadata)
    checkpoint = load_checkpoint(path)
    evidence = detect_architecture(checkpoint).evidence
    assert "the safetensors metadata agrees: ghostnet_050" in evidence
    assert str(resolve_preprocessing(checkpoint)).startswith("the safetensors metadata; ")
