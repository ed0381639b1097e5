from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ghostedge_convert import (
    Checkpoint,
    detect_architecture,
    identify,
    load_checkpoint,
    resolve_preprocessing,
)
from ghostedge_convert.architectures.ghostnet import GhostNet
from ghostedge_convert.checkpoint.config import CheckpointConfig, for_channels, read_config
from ghostedge_runtime.errors import CheckpointError
from ghostedge_runtime.metadata import Preprocessing


@pytest.fixture
def config(tmp_path: Path):
    def write(data: object) -> Path:
        path = tmp_path / "config.json"
        path.write_text(json.dumps(data))
        return path

    return write


def test_timms_convention_is_read_in_full(config):
    path = config(
        {
            "architecture": "ghostnet_100",
            "num_classes": 3,
            "label_names": ["cat", "dog", "犬"],
            "pretrained_cfg": {
                "tag": "in1k",
                "input_size": [3, 128, 96],
                "interpolation": "bicubic",
                "crop_pct": 0.9,
                "crop_mode": "center",
                "mean": [0.5, 0.4, 0.3],
                "std": [0.1, 0.2, 1],
                "num_classes": 3,
            },
        }
    )
    assert read_config(path) == CheckpointConfig(
        "ghostnet_100",
        3,
        Preprocessing((128, 96), "bicubic", 0.9, (0.5, 0.4, 0.3), (0.1, 0.2, 1.0)),
        ("cat", "dog", "犬"),
    )


def test_no_file_is_no_config(tmp_path):
    assert read_config(tmp_path / "config.json") is None


def test_a_config_of_something_else_says_nothing(config):
    assert read_config(config({"learning_rate": 0.1})) == CheckpointConfig()


def test_fields_left_out_are_the_familys_defaults_and_named(config):
    found = read_config(config({"pretrained_cfg": {"input_size": [3, 64, 64]}}))
    assert found is not None
    assert found.preprocessing == Preprocessing(input_size=(64, 64))
    assert found.defaulted == ("interpolation", "crop_pct", "mean", "std")


@pytest.mark.parametrize(
    ("trained", "mean", "std"),
    [
        ({"input_size": [1, 32, 32], "mean": [0.5], "std": [0.25]}, (0.5,), (0.25,)),
        ({"input_size": [1, 32, 32], "mean": 0.5, "std": 0.25}, (0.5,), (0.25,)),
        ({"input_size": [4, 32, 32], "mean": [0.1, 0.2, 0.3, 0.4], "std": [0.5]},
         (0.1, 0.2, 0.3, 0.4), (0.5,) * 4),
        ({"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.5, 0.5]}, (0.1, 0.2, 0.3), (0.5,) * 3),
    ],
)  # fmt: skip
def test_a_config_of_1_or_4_channels_is_taken_as_it_is(config, trained, mean, std):
    found = read_config(config({"in_chans": len(mean), "pretrained_cfg": trained}))
    assert found is not None
    assert found.preprocessing is not None
    assert (found.preprocessing.mean, found.preprocessing.std) == (mean, std)


def test_values_of_other_channels_are_averaged():
    assert for_channels((0.1, 0.2, 0.6), 1) == pytest.approx((0.3,))
    assert for_channels((0.5,), 4) == (0.5,) * 4
    assert for_channels((0.1, 0.2, 0.6), 3) == (0.1, 0.2, 0.6)


@pytest.mark.parametrize(
    "data",
    [
        {"pretrained_cfg": {"label_names": ["a", "b"]}},
        {"label_names": ["a", "b"], "pretrained_cfg": {"label_names": ["x", "y"]}},
        {"id2label": {"1": "b", "0": "a"}},
    ],
)
def test_labels_are_found_in_every_place_they_are_kept(config, data):
    found = read_config(config(data))
    assert found is not None
    assert found.labels == ("a", "b")


def test_classes_are_counted_at_the_top_before_the_pretrained_head(config):
    found = read_config(config({"num_classes": 10, "pretrained_cfg": {"num_classes": 1000}}))
    assert found is not None
    assert found.num_classes == 10


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ([], "the file"),
        ({"architecture": 7}, "architecture"),
        ({"num_classes": "10"}, "num_classes"),
        ({"num_classes": 0}, "num_classes"),
        ({"num_classes": True}, "num_classes"),
        ({"pretrained_cfg": []}, "pretrained_cfg"),
        ({"pretrained_cfg": {"num_classes": 1.5}}, "pretrained_cfg.num_classes"),
        ({"pretrained_cfg": {"input_size": 224}}, "pretrained_cfg.input_size"),
        ({"pretrained_cfg": {"input_size": [224, 224]}}, "pretrained_cfg.input_size"),
        ({"pretrained_cfg": {"input_size": [2, 28, 28]}}, "pretrained_cfg.input_size"),
        ({"pretrained_cfg": {"input_size": [3, -1, 28]}}, "pretrained_cfg.input_size"),
        ({"pretrained_cfg": {"interpolation": "cubic"}}, "pretrained_cfg.interpolation"),
        ({"pretrained_cfg": {"interpolation": ["bilinear"]}}, "pretrained_cfg.interpolation"),
        ({"pretrained_cfg": {"crop_pct": 1.5}}, "pretrained_cfg.crop_pct"),
        ({"pretrained_cfg": {"crop_pct": "0.875"}}, "pretrained_cfg.crop_pct"),
        ({"pretrained_cfg": {"crop_mode": "squash"}}, "pretrained_cfg.crop_mode"),
        ({"pretrained_cfg": {"mean": [0.5, 0.5]}}, "pretrained_cfg.mean"),
        ({"pretrained_cfg": {"mean": [0.5, 0.5, "0.5"]}}, "pretrained_cfg.mean"),
        ({"pretrained_cfg": {"mean": [0.5, 0.5, float("nan")]}}, "pretrained_cfg.mean"),
        ({"pretrained_cfg": {"mean": [0.5, 0.5, 10**400]}}, "pretrained_cfg.mean"),
        ({"pretrained_cfg": {"std": [0.5, 0.5, 0]}}, "pretrained_cfg.std"),
        ({"label_names": "cat"}, "label_names"),
        ({"label_names": ["cat", 3]}, "label_names[1]"),
        ({"label_names": []}, "label_names"),
        ({"label_names": ["cat"], "num_classes": 2}, "label_names"),
        ({"id2label": ["cat"]}, "id2label"),
        ({"id2label": {"0": "cat", "2": "dog"}}, "id2label"),
    ],
)
def test_a_malformed_field_is_an_error_that_names_file_and_field(config, data, field):
    path = config(data)
    with pytest.raises(CheckpointError) as raised:
        read_config(path)
    assert raised.value.where == str(path)
    assert f"the field {field} is malformed" in raised.value.what


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": 1}}'])
def test_a_file_that_is_not_json_is_an_error(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_bytes(text)
    with pytest.raises(CheckpointError, match="not readable JSON"):
        read_config(path)


def outcome(path: Path) -> CheckpointConfig | CheckpointError | None:
    try:
        return read_config(path)
    except CheckpointError as error:
        return error


FIELDS = ["architecture", "num_classes", "label_names", "id2label", "input_size", "mean", "std"]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    top=st.dictionaries(st.sampled_from(FIELDS), ANYTHING),
    trained=st.dictionaries(
        st.sampled_from([*FIELDS, "crop_pct", "interpolation", "crop_mode"]), ANYTHING
    ),
)
def test_any_json_is_a_config_or_a_checkpoint_error(config, top, trained):
    found = outcome(config({**top, "pretrained_cfg": trained}))
    assert isinstance(found, CheckpointConfig) or "is malformed" in found.what


# What a safetensors header and a class map say, beside or without a config.json.


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
