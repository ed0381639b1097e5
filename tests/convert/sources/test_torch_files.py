"""TorchScript is told by its content, becomes an exportable module, and is refused by name."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from ghostedge_convert import export_onnx
from ghostedge_convert.sources.torch_files import archive_kind, load_torchscript
from ghostedge_runtime.errors import InputError, ModelFileError


@pytest.mark.parametrize("how", ["script", "trace", "freeze"])
def test_the_module_computes_what_the_program_does(
    scripted: Callable[..., Path], tiny: nn.Module, images: torch.Tensor, how: str
) -> None:
    path = scripted(how=how)
    assert archive_kind(path) == "torchscript"
    given = load_torchscript(path, batch=8, input_size=(32, 32))
    with torch.no_grad():
        torch.testing.assert_close(given.module(images), tiny(images), rtol=0, atol=1e-6)
    assert (given.title, given.in_channels, given.notes) == ("TorchScript Tiny", 3, ())


def test_nodes_are_named_after_their_weights(scripted: Callable[..., Path]) -> None:
    given = load_torchscript(scripted(how="trace"), batch=1, input_size=(16, 16))
    model = export_onnx(given.module, input_size=(16, 16))
    assert [node.name for node in model.graph.node][:2] == ["conv/Conv", "norm/BatchNormalization"]


@pytest.mark.parametrize("channels", [1, 4])
def test_channels_are_found(
    scripted: Callable[..., Path], make_tiny: Callable[..., nn.Module], channels: int
) -> None:
    path = scripted(make_tiny(channels=channels))
    assert load_torchscript(path, batch=1, input_size=(16, 16)).in_channels == channels


def test_a_program_in_training_mode_is_put_in_evaluation(
    scripted: Callable[..., Path], tiny: nn.Module, images: torch.Tensor
) -> None:
    path = scripted(tiny.train())
    given = load_torchscript(path, batch=8, input_size=(32, 32))
    assert "training mode" in given.notes[0]
    with torch.no_grad():
        torch.testing.assert_close(given.module(images), tiny.eval()(images), rtol=0, atol=1e-6)


def test_a_program_that_writes_files_is_refused_before_it_is_loaded(
    scripted: Callable[..., Path], tmp_path: Path
) -> None:
    path, marked = scripted(), tmp_path / "marked.pt"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(marked, "w") as new:
        for record in old.namelist():
            data = old.read(record)
            if record.endswith(".py"):
                gift = b"def gift(self):\n    torch.save(1, 'f')\n  def forward"
                data = data.replace(b"def forward", gift)
            new.writestr(record, data)
    with pytest.raises(ModelFileError, match=r"its program calls torch.save"):
        load_torchscript(marked, batch=1, input_size=(16, 16))
    assert not Path("f").exists()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"torch.relu", b"ops.mine.relu", "ops.mine.relu"),
        (b"torch.relu", b"ops.aten.from_file", "ops.aten.from_file"),
        (b"torch.relu", b"torch.no_such_op", "cannot be loaded as a TorchScript program"),
    ],
)
def test_ops_that_no_export_knows_are_named(
    scripted: Callable[..., Path], tmp_path: Path, old: bytes, new: bytes, said: str
) -> None:
    path, changed = scripted(), tmp_path / "changed.pt"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(changed, "w") as target:
        for record in source.namelist():
            target.writestr(record, source.read(record).replace(old, new))
    with pytest.raises(ModelFileError, match=said):
        load_torchscript(changed, batch=1, input_size=(16, 16))


def test_a_damaged_archive_is_refused(scripted: Callable[..., Path]) -> None:
    path = scripted()
    data = bytearray(path.read_bytes())
    at = data.index(b"code/__torch__") + 40
    data[at : at + 3] = b"xyz"
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match="cannot be loaded as a TorchScript program"):
        load_torchscript(path, batch=1, input_size=(16, 16))


def test_a_size_that_the_program_does_not_take_says_what_it_said(
    scripted: Callable[..., Path],
) -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3 * 16 * 16, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(x.flatten(1))

    path = scripted(Fixed().eval())
    assert load_torchscript(path, batch=1, input_size=(16, 16)).in_channels == 3
    with pytest.raises(InputError, match="cannot compute a batch of 1×3×20×20"):
        load_torchscript(path, batch=1, input_size=(20, 20))


def test_a_branch_on_values_is_refused_with_a_remedy(scripted: Callable[..., Path]) -> None:
    class Branches(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if float(x.sum()) > 0:
                x = x + 1
            return x.mean((2, 3))

    given = None
    with pytest.raises(InputError, match="torch cannot turn this TorchScript program") as caught:
        given = load_torchscript(scripted(Branches().eval()), batch=1, input_size=(16, 16))
    assert given is None
    assert "ghostedge.convert" in str(caught.value.remedy)
