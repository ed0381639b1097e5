from __future__ import annotations

import hashlib
import os
import shutil
import warnings
import zipfile
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path

import pytest
import safetensors.torch
import torch

from ghostedge_convert import build, identify, load_checkpoint, resolve_preprocessing
from ghostedge_convert.architectures.ghostnet import GhostNet
from ghostedge_convert.checkpoint.unwrap import WRAPPERS
from ghostedge_runtime.errors import CheckpointError
from ghostedge_runtime.metadata import Preprocessing


@pytest.fixture(scope="module")
def weights() -> OrderedDict[str, torch.Tensor]:
    torch.manual_seed(0)
    return GhostNet(width=0.5, num_classes=3).state_dict()


@pytest.fixture
def save(tmp_path: Path):
    """Write an object with torch, or a mapping with safetensors, and return the path."""

    def write(content: object, name: str = "model.pt", **options: bool) -> Path:
        path = tmp_path / name
        if path.suffix == ".safetensors":
            safetensors.torch.save_file(content, path)
        else:
            torch.save(content, path, **options)
        return path

    return write


def same(found, expected) -> bool:
    return list(found) == list(expected) and all(torch.equal(found[k], expected[k]) for k in found)


def refusal(path: Path, **options: bool) -> CheckpointError:
    with pytest.raises(CheckpointError) as raised:
        load_checkpoint(path, **options)
    assert raised.value.where == str(path)
    assert raised.value.exit_code == 2
    return raised.value


# What loads.


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "model.pth.tar", "model.bin"])
def test_torch_files_of_every_suffix_load(save, weights, name):
    checkpoint = load_checkpoint(save(weights, name))
    assert same(checkpoint.weights, weights)
    assert checkpoint.notes == ()


def test_safetensors_load(save, weights):
    checkpoint = load_checkpoint(save(dict(weights), "model.safetensors"))
    assert same({k: checkpoint.weights[k] for k in weights}, weights)


def test_files_of_torch_before_1_6_load(save, weights):
    checkpoint = load_checkpoint(save(weights, _use_new_zipfile_serialization=False))
    assert same(checkpoint.weights, weights)


def test_the_content_decides_where_the_suffix_is_wrong(save, weights, tmp_path):
    path = save(dict(weights), "model.safetensors").rename(tmp_path / "model.pth")
    checkpoint = load_checkpoint(path)
    assert checkpoint.notes == (
        "model.pth is a safetensors file by its content and was read as one",
    )


def test_both_bundled_files_hold_the_same_network(cifar_checkpoint: Path):
    torch_file = load_checkpoint(cifar_checkpoint)
    other = load_checkpoint(str(cifar_checkpoint.with_suffix(".safetensors")))
    assert len(torch_file.weights) == 512
    assert all(torch.equal(torch_file.weights[k], other.weights[k]) for k in torch_file.weights)


def test_the_source_is_the_name_and_hash_of_the_file(save, weights):
    path = save(weights)
    source = load_checkpoint(path).source
    assert source.file == "model.pt"
    assert source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_weights_are_found_under_every_wrapper(save, weights, wrapper):
    checkpoint = load_checkpoint(save({wrapper: weights, "epoch": 7, "optimizer": {"lr": 0.1}}))
    assert same(checkpoint.weights, weights)
    assert checkpoint.notes == (
        f"took the weights under {wrapper!r}",
        "ignored epoch, optimizer",
    )


def test_the_prefix_of_distributed_training_is_dropped(save, weights):
    checkpoint = load_checkpoint(save({f"module.{key}": value for key, value in weights.items()}))
    assert same(checkpoint.weights, weights)
    assert checkpoint.notes == ("dropped the prefix 'module.' of every key",)


def test_prefixes_of_compiled_distributed_modules_are_dropped(save, weights):
    renamed = {f"_orig_mod.module.{key}": value for key, value in weights.items()}
    assert same(load_checkpoint(save({"model": renamed})).weights, weights)


def test_averaged_weights_are_taken_where_asked_for(save, weights):
    averaged = {key: value + 1 for key, value in weights.items()}
    path = save({"state_dict": weights, "state_dict_ema": averaged})
    plain, average = load_checkpoint(path), load_checkpoint(path, ema=True)
    assert same(plain.weights, weights)
    assert any("--ema takes those" in note for note in plain.notes)
    assert same(average.weights, averaged)


def test_averaged_weights_alone_are_taken_anyway(save, weights):
    checkpoint = load_checkpoint(save({"state_dict_ema": weights}))
    assert same(checkpoint.weights, weights)
    assert checkpoint.notes == ("took the weights under 'state_dict_ema'",)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", ["model.pt", "model.safetensors"])
def test_other_floating_precisions_become_float32(save, weights, dtype, name):
    kept = {k: v.to(dtype) if v.is_floating_point() else v for k, v in weights.items()}
    checkpoint = load_checkpoint(save(kept, name))
    stem = checkpoint.weights["conv_stem.weight"]
    assert stem.dtype == torch.float32
    assert torch.equal(stem, weights["conv_stem.weight"].to(dtype).float())
    assert checkpoint.weights["bn1.num_batches_tracked"].dtype == torch.int64
    assert checkpoint.notes == (f"converted {str(dtype)[6:]} weights to float32",)


def test_counters_that_a_profiler_left_are_ignored(save, weights):
    counted = {**weights, "total_ops": torch.zeros(1), "blocks.0.0.total_params": torch.zeros(1)}
    checkpoint = load_checkpoint(save(counted))
    assert same(checkpoint.weights, weights)
    assert checkpoint.notes == (
        "dropped the counters that thop left: total_ops ×1, total_params ×1",
    )


def test_other_things_among_the_weights_are_ignored(save, weights):
    checkpoint = load_checkpoint(save({**weights, "epoch": 3}))
    assert same(checkpoint.weights, weights)
    assert checkpoint.notes == ("ignored what is not weights: epoch",)


def test_parameters_saved_as_parameters_load(save, weights):
    checkpoint = load_checkpoint(save({"w": torch.nn.Parameter(torch.ones(2))}))
    assert not checkpoint.weights["w"].requires_grad


def test_a_network_built_from_a_checkpoint_computes_what_the_original_did(save):
    original = GhostNet(width=0.5, num_classes=3).eval()
    checkpoint = load_checkpoint(save({"state_dict": original.state_dict()}))
    network = build(checkpoint, identify(checkpoint))
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(network(image), original(image))
    assert not network.training


def test_preprocessing_is_the_familys_default_and_says_so_without_a_config(save, weights):
    resolved = resolve_preprocessing(load_checkpoint(save(weights)))
    assert resolved.preprocessing == Preprocessing()
    assert resolved.inferred
    assert "inferred" in str(resolved)


def test_preprocessing_and_labels_come_from_the_config_beside(trained):
    checkpoint = load_checkpoint(trained.checkpoint)
    resolved = resolve_preprocessing(checkpoint)
    assert resolved.preprocessing.input_size == (64, 64)
    assert not resolved.inferred
    assert checkpoint.config is not None
    assert checkpoint.config.labels == trained.labels


# What is refused.


def test_averaged_weights_asked_for_and_absent_are_an_error(save, weights):
    error = refusal(save({"state_dict": weights, "epoch": 1}), ema=True)
    assert "no averaged weights" in error.what
    assert "state_dict, epoch" in error.what
    assert error.remedy == "leave out --ema"


class Runner:
    """Pickled as a call of ``os.mkdir``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_runs_code_is_refused_by_the_name_of_what_it_calls(save, tmp_path, zipped):
    made = tmp_path / "made"
    path = save({"state_dict": Runner(made)}, _use_new_zipfile_serialization=zipped)
    error = refusal(path)
    assert f"{os.mkdir.__module__}.mkdir" in error.what
    assert not made.exists()


class Recipe:
    """A class of a training script's own."""


RECIPE = f"{Recipe.__module__}.Recipe"


@pytest.mark.parametrize("zipped", [True, False])
def test_a_class_beside_the_weights_is_named_with_the_way_to_convert(save, weights, zipped):
    content = {"model": weights, "args": Namespace(lr=0.1), "recipe": Recipe()}
    error = refusal(save(content, "best.pth.tar", _use_new_zipfile_serialization=zipped))
    assert error.what.endswith(f"run code of {RECIPE}")
    assert "add --unsafe-pickle" in str(error)
    assert 'torch.load("best.pth.tar", map_location="cpu", weights_only=False)' in str(error)
    assert 'torch.save(checkpoint["model"], "best_weights.pt")' in str(error)


def test_the_way_to_convert_works(save, weights, tmp_path, monkeypatch):
    path = save({"model": weights, "recipe": Recipe()}, "best.pth.tar")
    snippet = str(refusal(path).remedy).partition(":\n")[2]
    monkeypatch.chdir(tmp_path)
    exec("\n".join(line.strip() for line in snippet.splitlines()), {"torch": torch})
    assert same(load_checkpoint(tmp_path / "best_weights.pt").weights, weights)


def test_a_pickled_module_is_refused_with_the_way_to_save_its_weights(save):
    error = refusal(save(GhostNet(width=0.5, num_classes=2)))
    assert "a whole pickled module" in error.what
    assert "ghostedge_convert.architectures.ghostnet.GhostNet" in error.what
    assert "checkpoint.state_dict()" in str(error.remedy)


def test_a_torchscript_program_is_refused(tmp_path):
    path = tmp_path / "traced.pt"
    module = torch.nn.Linear(2, 2).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer versions of torch deprecate the format
        torch.jit.trace(module, torch.zeros(1, 2)).save(str(path))
    assert "TorchScript program" in refusal(path).what


def test_an_empty_file_is_refused(tmp_path):
    path = tmp_path / "model.pt"
    path.touch()
    assert refusal(path).what == "the file is empty (0 bytes)"


def test_a_file_that_is_not_there_is_refused(tmp_path):
    assert "No such file" in refusal(tmp_path / "model.pt").what


def test_a_folder_is_refused_with_the_weights_inside(save, weights, tmp_path):
    save(weights, "inside.pt")
    error = refusal(tmp_path)
    assert "folder" in error.what
    assert "inside.pt" in str(error.remedy)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.999])
def test_a_cut_zip_is_refused_with_the_byte_where_it_ends(save, weights, share):
    path = save(weights)
    data = path.read_bytes()
    cut = int(len(data) * share)
    path.write_bytes(data[:cut])
    error = refusal(path)
    assert f"it ends at byte {cut:,}" in error.what
    least = sum(v.numel() * v.element_size() for v in weights.values())
    assert (f"its weights alone take {least:,}" in error.what) == (cut < least)


def test_a_zip_cut_inside_its_pickle_is_refused(save, weights):
    path = save(weights)
    path.write_bytes(path.read_bytes()[:500])
    assert "it ends at byte 500;" in refusal(path).what


@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_a_cut_safetensors_is_refused_with_both_lengths(save, weights, share):
    path = save(dict(weights), "model.safetensors")
    data = path.read_bytes()
    cut = int(len(data) * share)
    path.write_bytes(data[:cut])
    what = refusal(path).what
    if share == 0.01:  # inside the header, which tells its own length alone
        assert what.startswith(f"the file is cut: it ends at byte {cut:,} of ")
    else:
        assert what == f"the file is cut: it ends at byte {cut:,} of {len(data):,}"


@pytest.mark.parametrize("share", [0.3, 0.999])
def test_a_cut_file_of_torch_before_1_6_is_refused(save, weights, share):
    path = save(weights, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert "cut or damaged" in refusal(path).what


def test_numbers_of_a_cut_file_of_torch_before_1_6_are_taken_for_no_pickle(save):
    pickled = b"N" + b"\x80\x04N." * 70 + b"NNN"  # what the bytes of weights may look like
    numbers = torch.frombuffer(bytearray(pickled), dtype=torch.float32)
    assert len(numbers) == ord("G")  # the length before them is an opcode that takes eight bytes
    path = save({"weight": numbers}, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:-100])
    error = refusal(path)
    assert "cut or damaged" in error.what
    assert error.remedy == "copy or download it again"


def test_a_zip_with_a_damaged_record_is_refused_by_its_name(save, weights):
    path = save(weights)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo(f"{archive.namelist()[0].partition('/')[0]}/data.pkl")
    start = entry.header_offset + 200
    data[start : start + 40] = bytes(40)
    path.write_bytes(data)
    assert "data.pkl is damaged" in refusal(path).what


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")


@pytest.mark.parametrize(
    ("write", "what"),
    [
        (lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\n"), "Git LFS pointer"),
        (lambda p: p.write_text("<!DOCTYPE html><html></html>"), "web page"),
        (lambda p: p.write_text('{"architecture": "ghostnet_100"}'), "JSON"),
        (lambda p: p.write_bytes(b"\x20\0\0\0TFL3" + bytes(20)), "TFLite model"),
        (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(20)), "HDF5"),
        (lambda p: p.write_bytes(b"abc"), "no weights file: 3 bytes that begin with 61 62 63"),
        (_zip, "zip of other files (readme.txt)"),
    ],
)
def test_files_passed_by_mistake_are_called_by_their_names(tmp_path, write, what):
    path = tmp_path / "model.pth"
    write(path)
    assert what in refusal(path).what


@pytest.mark.parametrize("content", [torch.zeros(3), [1, 2], 7, None, "weights"])
def test_content_without_names_is_refused(save, content):
    assert "not weights by name" in refusal(save(content)).what


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, {"state_dict": {}}, {3: torch.zeros(1)}])
def test_a_mapping_without_weights_is_refused(save, content):
    assert "holds no weights by name" in refusal(save(content)).what


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name_and_count(save, weights, value):
    broken = {key: tensor.clone() for key, tensor in weights.items()}
    broken["conv_stem.weight"][0, 0] = value
    broken["classifier.bias"][1] = value
    what = refusal(save(broken)).what
    assert "9 of 216 values in conv_stem.weight are NaN or infinite" in what
    assert "1 of 3 values in classifier.bias" in what


def test_a_negative_variance_is_refused(save, weights):
    broken = {**weights, "bn1.running_var": -torch.ones(8)}
    assert "bn1.running_var has a negative variance" in refusal(save(broken)).what


@pytest.mark.parametrize(
    ("tensor", "kind"),
    [
        (torch.ones(8, 3, 3, 3, dtype=torch.int8), "int8"),
        (torch.ones(8, 3, 3, 3).to_sparse(), "sparse_coo"),
        (torch.ones(8, 3, 3, 3, dtype=torch.complex64), "complex64"),
    ],
)
def test_weights_of_another_kind_are_refused(save, weights, tensor, kind):
    what = refusal(save({**weights, "conv_stem.weight": tensor})).what
    assert "conv_stem.weight" in what
    assert kind in what


def test_a_malformed_config_beside_the_weights_is_refused(save, weights, tmp_path):
    path = save(weights)
    (tmp_path / "config.json").write_text('{"num_classes": "ten"}')
    with pytest.raises(CheckpointError, match="num_classes") as raised:
        load_checkpoint(path)
    assert raised.value.where == str(tmp_path / "config.json")


def test_the_file_is_left_as_it_was(save, weights, tmp_path):
    path = save(weights)
    before = shutil.copy(path, tmp_path / "copy")
    load_checkpoint(path)
    assert path.read_bytes() == Path(before).read_bytes()
