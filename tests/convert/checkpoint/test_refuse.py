"""Archives around the weights and parts of them: named, with a remedy that works."""

from __future__ import annotations

import gzip
import io
import re
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch

from ghostedge_convert import load_checkpoint
from ghostedge_runtime.errors import CheckpointError

WEIGHTS = {"conv_stem.weight": torch.ones(2, 3), "bn1.bias": torch.zeros(2)}


def torch_bytes() -> bytes:
    buffer = io.BytesIO()
    torch.save(WEIGHTS, buffer)
    return buffer.getvalue()


def refusal(path: Path) -> CheckpointError:
    with pytest.raises(CheckpointError) as raised:
        load_checkpoint(path)
    assert raised.value.where == str(path)
    assert raised.value.exit_code == 2
    return raised.value


def follow(error: CheckpointError, folder: Path) -> Path:
    """Run the command that the remedy gives, and return the file it says to pass."""
    assert error.remedy is not None
    command, _, then = error.remedy.partition(": ")[2].partition(", and pass ")
    program = "zip" if " zip " in command else command.split()[0]
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")
    subprocess.run(command, shell=True, cwd=folder, check=True, capture_output=True)
    return folder / (then or command.rpartition("> ")[2].strip("'"))


def packed_tar(path: Path, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]  # any mode
        for name in ("run/log.txt", "run/best.pth"):
            info = tarfile.TarInfo(name)
            info.size = len(torch_bytes())
            archive.addfile(info, io.BytesIO(torch_bytes()))
    return path


def test_a_pth_tar_that_is_a_tar_names_the_weights_inside_and_unpacks_as_told(tmp_path):
    error = refusal(packed_tar(tmp_path / "model.pth.tar"))
    assert error.what == "this is a tar archive that holds run/best.pth, not weights"
    assert list(load_checkpoint(follow(error, tmp_path)).weights) == list(WEIGHTS)


def test_a_compressed_tar_unpacks_as_told(tmp_path):
    error = refusal(packed_tar(tmp_path / "model.tar.gz", "w:gz"))
    assert error.what.startswith("this is a gzip-compressed tar archive")
    assert "tar -xzf model.tar.gz" in str(error.remedy)


@pytest.mark.parametrize("name", ["model.pth.gz", "model.pth"])
def test_a_compressed_checkpoint_unpacks_as_told(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(torch_bytes()))
    error = refusal(path)
    assert error.what == "this is a gzip archive of a torch file, not weights"
    assert list(load_checkpoint(follow(error, tmp_path)).weights) == list(WEIGHTS)


def test_a_zip_around_a_checkpoint_unpacks_as_told(tmp_path):
    path = tmp_path / "upload me.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
        archive.writestr("best.pth", torch_bytes())
    error = refusal(path)
    assert error.what == "this is a zip of other files (best.pth), not a checkpoint"
    assert list(load_checkpoint(follow(error, tmp_path)).weights) == list(WEIGHTS)


@pytest.mark.parametrize(
    ("magic", "what"),
    [
        (b"BZh91AY", "compressed with bzip2"),
        (b"\xfd7zXZ\x00", "compressed with xz"),
        (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
        (b"7z\xbc\xaf\x27\x1c", "7-Zip archive"),
        (b"Rar!\x1a\x07\x01", "RAR archive"),
        (b"\x1f\x8b\x08", "gzip archive"),
    ],
)
def test_other_archives_are_called_by_their_names(tmp_path, magic, what):
    path = tmp_path / "model.pth.xz"
    path.write_bytes(magic + bytes(40))
    error = refusal(path)
    assert what in error.what
    assert "model.pth.xz" in str(error.remedy)


def test_a_torch_file_that_was_unpacked_into_a_folder_is_packed_again_as_told(tmp_path):
    torch.save(WEIGHTS, tmp_path / "model.pt")
    with zipfile.ZipFile(tmp_path / "model.pt") as archive:
        archive.extractall(tmp_path / "downloaded")
    error = refusal(tmp_path / "downloaded")
    assert error.what == "this is a torch file that was unpacked into a folder"
    assert list(load_checkpoint(follow(error, tmp_path)).weights) == list(WEIGHTS)


# Shards.


def shards(folder: Path) -> None:
    for number, key in enumerate(WEIGHTS, 1):
        name = f"model-{number:05d}-of-00002.safetensors"
        safetensors.torch.save_file({key: WEIGHTS[key]}, folder / name)


def join(error: CheckpointError, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run the code that the remedy gives, and return the file it writes."""
    code = str(error.remedy).partition(":\n")[2]
    monkeypatch.chdir(folder)
    exec("\n".join(line.strip() for line in code.splitlines()), {})
    (name,) = re.findall(r'save_file\(weights, "(.+)"\)', code)
    return folder / name


def test_a_part_of_the_weights_is_refused_and_joins_as_told(tmp_path, monkeypatch):
    shards(tmp_path)
    error = refusal(tmp_path / "model-00002-of-00002.safetensors")
    assert error.what == "this is part 2 of 2 of the weights"
    joined = load_checkpoint(join(error, tmp_path, monkeypatch))
    assert set(joined.weights) == set(WEIGHTS)


def test_parts_of_torchs_format_join_as_told(tmp_path, monkeypatch):
    for number, key in enumerate(WEIGHTS, 1):
        torch.save({key: WEIGHTS[key]}, tmp_path / f"pytorch_model-{number:05d}-of-00002.bin")
    error = refusal(tmp_path / "pytorch_model-00001-of-00002.bin")
    joined = load_checkpoint(join(error, tmp_path, monkeypatch))
    assert set(joined.weights) == set(WEIGHTS)


@pytest.mark.parametrize("index", ["model.safetensors.index.json", "pytorch_model.bin.index.json"])
def test_the_index_of_parts_is_refused_and_joins_as_told(tmp_path, monkeypatch, index):
    shards(tmp_path)
    path = tmp_path / index
    names = '"conv_stem.weight": "model-00001-of-00002.safetensors", '
    names += '"bn1.bias": "model-00002-of-00002.safetensors"'
    path.write_text(f'{{"metadata": {{}}, "weight_map": {{{names}}}}}')
    error = refusal(path)
    assert "the index of weights in 2 files (model-00001-of-00002.safetensors" in error.what
    assert set(load_checkpoint(join(error, tmp_path, monkeypatch)).weights) == set(WEIGHTS)


def test_an_index_of_one_part_says_to_pass_that(tmp_path):
    path = tmp_path / "model.safetensors.index.json"
    path.write_text('{"weight_map": {"a": "model-00001-of-00001.safetensors"}}')
    assert refusal(path).remedy == "pass model-00001-of-00001.safetensors"


def test_an_only_part_loads(tmp_path):
    path = tmp_path / "model-00001-of-00001.safetensors"
    safetensors.torch.save_file(WEIGHTS, path)
    assert set(load_checkpoint(path).weights) == set(WEIGHTS)


@pytest.mark.parametrize("text", ['{"weight_map"', '{"weight_map": 3}', '{"weight_map": {"a": 1}}'])
def test_a_broken_index_is_an_index_still(tmp_path, text):
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(text)
    assert "index of weights in 0 files" in refusal(path).what
