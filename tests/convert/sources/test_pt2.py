"""A torch.export program is checked before it is loaded, and its sizes against the flags."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from ghostedge_convert.sources import pt2
from ghostedge_convert.sources.pt2 import load_pt2_program
from ghostedge_convert.sources.torch_files import archive_kind
from ghostedge_runtime.errors import InputError, MissingDependencyError, ModelFileError

Write = Callable[..., Path]


def rewritten(path: Path, change: Callable[[str, bytes], bytes], **added: bytes) -> Path:
    """The archive with its records changed; torch wants them stored, not compressed."""
    target = path.with_name("changed.pt2")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for record in old.namelist():
            new.writestr(record, change(record, old.read(record)))
        root = old.namelist()[0].partition("/")[0]
        for name, data in added.items():
            new.writestr(f"{root}/{name.replace('__', '/')}", data)
    return target


def test_the_module_computes_what_the_program_does(
    exported: Write, tiny: nn.Module, images: torch.Tensor
) -> None:
    path = exported(shape=(8, 3, 32, 32))
    assert archive_kind(path) == "pt2"
    given = load_pt2_program(path, batch=8, input_size=None)
    assert (given.in_channels, given.input_size) == (3, (32, 32))
    with torch.no_grad():
        torch.testing.assert_close(given.module(images), tiny(images), rtol=0, atol=1e-6)


def test_a_batch_that_was_left_open_takes_any_in_its_range(exported: Write) -> None:
    path = exported(shape=(2, 3, 16, 16), dynamic_shapes={"x": {0: torch.export.Dim("n", max=6)}})
    assert load_pt2_program(path, batch=4, input_size=None).input_size == (16, 16)
    with pytest.raises(InputError, match="takes batches of 0 to 6, not 7"):
        load_pt2_program(path, batch=7, input_size=None)


def test_a_size_that_was_left_open_is_the_flags_to_say(exported: Write) -> None:
    sides = {2: torch.export.Dim("h"), 3: torch.export.Dim("w")}
    path = exported(shape=(1, 3, 16, 20), dynamic_shapes={"x": sides})
    assert load_pt2_program(path, batch=1, input_size=(24, 28)).input_size == (24, 28)
    assert load_pt2_program(path, batch=1, input_size=None).input_size is None


def test_a_size_that_contradicts_the_program_is_refused(exported: Write) -> None:
    path = exported()
    assert load_pt2_program(path, batch=1, input_size=(16, 16)).input_size == (16, 16)
    with pytest.raises(InputError, match="exported for 16×16, not for 20×16") as caught:
        load_pt2_program(path, batch=1, input_size=(20, 16))
    assert caught.value.where == "--input-size"
    with pytest.raises(InputError, match="takes batches of 1, not 4"):
        load_pt2_program(path, batch=4, input_size=None)


class Odd(nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (x + y).mean((2, 3))


def test_two_inputs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "two.pt2"
    example = torch.zeros(1, 3, 8, 8)
    torch.export.save(torch.export.export(Odd(), (example, example)), path)
    with pytest.raises(ModelFileError, match="takes 'x', 'y', not one batch of images"):
        load_pt2_program(path, batch=1, input_size=None)


@pytest.mark.parametrize(
    ("example", "said"),
    [
        (torch.zeros(1, 3, 8, 8, dtype=torch.float64), "takes float64 1×3×8×8"),
        (torch.zeros(1, 2, 8, 8), "takes float32 1×2×8×8"),
        (torch.zeros(3, 8, 8), "takes 'x', not one batch of images"),
    ],
)
def test_an_input_that_is_no_float32_image_is_refused(
    tmp_path: Path, example: torch.Tensor, said: str
) -> None:
    path = tmp_path / "odd.pt2"
    torch.export.save(torch.export.export(nn.ReLU(), (example,)), path)
    with pytest.raises(ModelFileError, match=said.replace("'x'", "'input'")):
        load_pt2_program(path, batch=1, input_size=None)


def test_a_program_of_training_mode_is_refused(exported: Write, tiny: nn.Module) -> None:
    with pytest.raises(ModelFileError, match=r"exported in training mode .*batch_norm"):
        load_pt2_program(exported(tiny.train()), batch=1, input_size=None)


def test_a_compiled_library_or_a_pickled_object_is_refused_unread(exported: Write) -> None:
    for name in ("data__aotinductor__model__x.so", "data__constants__opaque_obj_0"):
        path = rewritten(exported(), lambda _, data: data, **{name: b"x"})
        with pytest.raises(ModelFileError, match=name.replace("__", "/")) as caught:
            load_pt2_program(path, batch=1, input_size=None)
        assert "run as code" in str(caught.value)


def test_an_expression_that_is_more_than_sizes_is_refused(exported: Write) -> None:
    path = exported(shape=(2, 3, 16, 16), dynamic_shapes={"x": {0: torch.export.Dim("n", max=6)}})
    marker = path.with_name("marker")

    def poison(record: str, data: bytes) -> bytes:
        if not record.endswith("models/model.json"):
            return data
        text = f"__import__('pathlib').Path({str(marker)!r}).touch()"
        document = data.decode()
        start = document.index('"expr_str": "') + len('"expr_str": "')
        end = document.index('", "hint"', start)
        return (document[:start] + json.dumps(text)[1:-1] + document[end:]).encode()

    with pytest.raises(ModelFileError, match="a size in it is the expression"):
        load_pt2_program(rewritten(path, poison), batch=2, input_size=None)
    assert not marker.exists()


class Touch:
    """Unpickled, it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_an_example_that_runs_code_when_unpickled_is_refused_before_it_does(
    exported: Write, tmp_path: Path
) -> None:
    marker, bomb = tmp_path / "marker", tmp_path / "bomb"
    torch.save(((Touch(marker),), {}), bomb)
    path = rewritten(
        exported(), lambda name, data: bomb.read_bytes() if "sample_inputs" in name else data
    )
    with pytest.raises(ModelFileError, match="example input is more than tensors"):
        load_pt2_program(path, batch=1, input_size=None)
    assert not marker.exists()


def test_a_tensor_marked_as_pickled_is_refused(exported: Write) -> None:
    def mark(record: str, data: bytes) -> bytes:
        if record.endswith("model_weights_config.json"):
            return data.replace(b'"use_pickle": false', b'"use_pickle": true', 1)
        return data

    with pytest.raises(ModelFileError, match="a tensor in it is pickled"):
        load_pt2_program(rewritten(exported(), mark), batch=1, input_size=None)


def test_a_program_of_an_older_torch_has_to_be_exported_again(tmp_path: Path) -> None:
    path = tmp_path / "old.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("serialized_exported_program.json", "{}")
        archive.writestr("version", "8.2")
    assert archive_kind(path) == "pt2"
    with pytest.raises(ModelFileError, match=r"cannot be read as a torch.export program") as caught:
        load_pt2_program(path, batch=1, input_size=None)
    assert "torch before 2.8" in str(caught.value.remedy)


def test_a_torch_with_the_flaw_in_its_loader_is_refused(
    exported: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = exported()
    monkeypatch.setattr(pt2.torch, "__version__", torch.torch_version.TorchVersion("2.10.0+cpu"))
    with pytest.raises(MissingDependencyError, match="CVE-2026-4538"):
        load_pt2_program(path, batch=1, input_size=None)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"PK\x03\x04" + b"\0" * 60, b"text"])
def test_a_file_that_is_neither_archive_is_told_to_be_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.pt2"
    path.write_bytes(content)
    assert archive_kind(path) is None
    assert archive_kind(tmp_path / "absent.pt2") is None
