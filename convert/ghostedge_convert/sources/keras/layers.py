"""``.keras`` and ``.h5`` models, built of Keras's layers on its torch backend.

The backend makes the model a torch module, so it is exported as every other network is, and
TensorFlow is not needed. Keras's own ONNX export takes torch's older exporter here, which leaves
dynamic shapes and three times as many nodes.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import keras
import numpy as np
import onnx
import torch

from ghostedge_convert.export import export_onnx
from ghostedge_convert.sources.keras.files import (
    HARD_SIGMOID_2,
    Config,
    Kind,
    config_of,
    mended,
    refuse_other_kernels,
    refuse_unknown,
    refuse_unsafe,
)
from ghostedge_convert.sources.keras.wire import Array, KerasFacts
from ghostedge_runtime.errors import CheckpointError, InputError

_TO_LAST = (0, 2, 3, 1)
_TO_FIRST = (0, 3, 1, 2)
_CHANNELS = (1, 3, 4)
_IMAGE_RANK = 4


class LayeredModel:
    """A model of Keras layers on the torch backend; ``RemoteKeras`` has the same methods.

    Args:
        path: Of the file.
        kind: What it is.
        custom_objects: Python file that defines the model's own classes. It is run.
    """

    def __init__(self, path: Path, kind: Kind, *, custom_objects: Path | None) -> None:
        custom = {} if custom_objects is None else _run_custom(custom_objects)
        config = config_of(path) if kind is Kind.KERAS else _config_of_h5(path)
        _refuse_old(config, kind, path)
        refuse_unsafe(config.model, path)
        refuse_other_kernels(config.model, path)
        registered = keras.saving.get_custom_objects()
        refuse_unknown(config.model, set(dir(keras.layers)), {*custom, *registered}, path)
        ready = mended(config.model, keras_version=config.keras_version)
        self._path = path
        self._model = _load(path, kind, ready.model, {**custom, HARD_SIGMOID_2: _hard_sigmoid_2})
        _mend_average_pools(self._model)
        self._channels_last, self.facts = _facts(self._model, path, ready.notes)
        self._module = _Named(self._model, channels_last=self._channels_last).eval()

    def export(self, *, input_size: tuple[int, int], batch: int) -> onnx.ModelProto:
        """The model as ONNX, NCHW at both ends, every size static."""
        channels = self.facts.in_channels
        return export_onnx(self._module, input_size=input_size, batch=batch, in_channels=channels)

    def answers(self, images: Array) -> tuple[Array, ...]:
        """Keras's outputs for float32 NCHW images; feature maps NCHW."""
        with torch.inference_mode():
            outputs = self._module(torch.from_numpy(images))
        tensors = outputs.values() if isinstance(outputs, dict) else (outputs,)
        return tuple(tensor.numpy() for tensor in tensors)


def _run_custom(path: Path) -> dict[str, Any]:
    """Run the user's file; the classes and functions that it defines, by name."""
    spec = importlib.util.spec_from_file_location("ghostedge_custom_objects", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise InputError(
            "it is no Python file", where=path, remedy="pass the .py that defines the classes"
        )
    module: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the user's file raises is theirs to read
        raise InputError(
            f"running it failed ({type(error).__name__}: {error})",
            where=path,
            remedy="run it with Python on its own, with KERAS_BACKEND=torch set",
        ) from error
    return {n: v for n, v in vars(module).items() if callable(v) and not n.startswith("_")}


def _config_of_h5(path: Path) -> Config:
    """The architecture in an HDF5 file.

    Raises:
        CheckpointError: It is damaged, or holds weights alone.
    """
    try:
        with h5py.File(path, "r") as file:
            text, version = file.attrs.get("model_config"), file.attrs.get("keras_version", "")
    except OSError as error:
        raise CheckpointError(
            f"the HDF5 file is damaged ({error})", where=path, remedy="save or copy it again"
        ) from error
    if text is None:
        raise CheckpointError(
            "it holds weights alone, without the architecture they belong to",
            where=path,
            remedy="build the model, load_weights() into it and model.save('model.keras'); or pass "
            "--factory FILE.py:FUNCTION that returns it",
        )
    return Config(json.loads(_text(text)), _text(version))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _refuse_old(config: Config, kind: Kind, path: Path) -> None:
    """Archives of Keras 2, whose classes Keras 3 does not have; it does read its HDF5 files."""
    if kind is Kind.KERAS and config.keras_version.startswith("2."):
        raise CheckpointError(
            f"Keras {config.keras_version} wrote it, whose archives Keras 3 does not read",
            where=path,
            remedy="where it was made, save it with model.save('model.h5') or "
            "tf.saved_model.save(model, 'folder') and convert that",
        )


def _load(path: Path, kind: Kind, config: dict[str, Any], custom: Mapping[str, Any]) -> Any:
    """Load a copy that holds the mended configuration: Keras reads both from one file."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / f"model{kind.value}"
        if kind is Kind.KERAS:
            _copy_archive(path, copy, config)
        else:
            shutil.copyfile(path, copy)
            with h5py.File(copy, "r+") as file:
                file.attrs["model_config"] = json.dumps(config)
        try:
            return keras.saving.load_model(
                copy, custom_objects=dict(custom), compile=False, safe_mode=True
            )
        except Exception as error:  # Keras raises whatever a layer's constructor does
            raise CheckpointError(
                f"Keras {keras.__version__} cannot load it ({_cause(error)})",
                where=path,
                remedy="load it with keras.saving.load_model yourself to see the whole message; "
                "classes of your own come with --custom-objects FILE.py",
            ) from error


def _cause(error: Exception) -> str:
    """The end of Keras's message, which begins with the whole configuration of a layer."""
    text = str(error).rpartition("Exception encountered:")[2].strip()
    return text.splitlines()[0][:300] if text else type(error).__name__


def _copy_archive(path: Path, copy: Path, config: dict[str, Any]) -> None:
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(copy, "w") as target:
        for entry in source.infolist():
            if entry.filename == "config.json":
                target.writestr(entry.filename, json.dumps(config))
                continue
            with source.open(entry) as data, target.open(entry.filename, "w") as out:
                shutil.copyfileobj(data, out)


def _facts(model: Any, path: Path, notes: tuple[str, ...]) -> tuple[bool, KerasFacts]:
    """Whether the model's images are channels last, and what it says of itself.

    Raises:
        InputError: It takes something other than one batch of images.
    """
    inputs = getattr(model, "inputs", None) or []
    shape = tuple(inputs[0].shape) if len(inputs) == 1 else ()
    if len(shape) != _IMAGE_RANK:
        raise InputError(
            f"it takes {[tuple(i.shape) for i in inputs] or 'inputs of unknown shape'}, "
            "not one batch of images",
            where=path,
            remedy="only models of one image input can be converted; a subclassed model must have "
            "been called once before it is saved",
        )
    last = shape[3] in _CHANNELS or shape[1] not in _CHANNELS
    height, width = shape[1:3] if last else shape[2:]
    channels = shape[3] if last else shape[1]
    if channels is None:
        raise InputError(
            "its number of channels is open", where=path, remedy="state it in the Input layer"
        )
    size = None if height is None or width is None else (int(height), int(width))
    names = tuple(getattr(model, "output_names", None) or ("logits",))
    return last, KerasFacts(size, int(channels), names, notes)


def _hard_sigmoid_2(x: Any) -> Any:
    """Keras 2's hard sigmoid; Keras 3's has the slope 1/6."""
    return keras.ops.clip(np.float32(0.2) * x + np.float32(0.5), 0.0, 1.0)


class _Named(torch.nn.Module):
    """Maps float32 ``[N, C, H, W]`` to the model's output, or a dict of its outputs by name.

    torch names what it traces after the modules it passes through, and Keras calls its layers
    without passing through torch. So each layer's ``call`` goes through a small module of the
    layer's name.

    Args:
        model: A Keras model on the torch backend.
        channels_last: Whether the model itself takes, and returns, images channels last.
    """

    def __init__(self, model: Any, *, channels_last: bool) -> None:
        super().__init__()
        self.model = model
        self._channels_last = channels_last
        for layer in model._flatten_layers(include_self=False, recursive=True):
            if not getattr(layer, "layers", None):
                self._name_call(layer)

    def forward(self, images: torch.Tensor) -> Any:
        """Run the model as it is at inference."""
        result = self.model(
            images.permute(_TO_LAST) if self._channels_last else images, training=False
        )
        if isinstance(result, dict):
            return {str(name): self._first(value) for name, value in result.items()}
        if isinstance(result, (list, tuple)):
            if len(result) == 1:
                return self._first(result[0])
            return {
                name: self._first(value)
                for name, value in zip(self.model.output_names, result, strict=True)
            }
        return self._first(result)

    def _first(self, value: torch.Tensor) -> torch.Tensor:
        return (
            value.permute(_TO_FIRST) if self._channels_last and value.ndim == _IMAGE_RANK else value
        )

    def _name_call(self, layer: Any) -> None:
        name = str(layer.name).replace(".", "_")
        if hasattr(self, name):
            return
        call = _Call(layer.call)
        self.add_module(name, call)
        object.__setattr__(layer, "call", call)


class _Call(torch.nn.Module):
    """A layer's ``call`` as a module; the layer itself is not its child."""

    def __init__(self, call: Callable[..., Any]) -> None:
        super().__init__()
        self._call = call

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(*args, **kwargs)


def _mend_average_pools(model: Any) -> None:
    """Give each AveragePooling2D of a model that pads to "same" the documented behaviour.

    The elements that padding adds are no part of the average. Where the padding is not symmetric,
    the torch backend repeats the border and averages over that too (Keras 3.15), so a model trained
    on TensorFlow would compute something else.
    """
    for layer in model._flatten_layers(include_self=False, recursive=True):
        if isinstance(layer, keras.layers.AveragePooling2D) and layer.padding == "same":
            object.__setattr__(layer, "call", _AveragePool(layer))


class _AveragePool:
    """The ``call`` of one AveragePooling2D layer."""

    def __init__(self, layer: Any) -> None:
        self._size = tuple(layer.pool_size)
        self._strides = tuple(layer.strides)
        self._last = layer.data_format == "channels_last"

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        images = inputs.permute(_TO_FIRST) if self._last else inputs
        height, width = images.shape[2:]
        around = [*self._around(width, 1), *self._around(height, 0)]
        averages = self._averages(images, around)
        share = self._averages(torch.ones(1, 1, height, width), around)
        result = averages * (1.0 / share)
        return result.permute(_TO_LAST) if self._last else result

    def _averages(self, images: torch.Tensor, around: list[int]) -> torch.Tensor:
        padded = torch.nn.functional.pad(images, around)
        return torch.nn.functional.avg_pool2d(padded, self._size, self._strides)

    def _around(self, size: int, axis: int) -> tuple[int, int]:
        """Elements before and after: as many as keep ``ceil(size / stride)`` windows."""
        stride, kernel = self._strides[axis], self._size[axis]
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        return total // 2, total - total // 2
