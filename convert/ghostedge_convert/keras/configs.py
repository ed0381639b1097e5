"""A Keras model's configuration, read and mended before Keras builds anything from it.

Refused: layers that hold code (Lambda), or that only old Keras or TensorFlow can build. Mended:
what Keras 2 wrote and Keras 3 reads otherwise or not at all, and reduced precision, which is a
matter of training speed and not of the function.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ghostedge_runtime.errors import CheckpointError

HARD_SIGMOID_2 = "keras2_hard_sigmoid"
"""What ``hard_sigmoid`` is called where Keras 2 wrote it: ``clip(0.2 x + 0.5, 0, 1)`` there."""

_CODE = ("Lambda",)
_TENSORFLOW = ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer", "ClassMethod", "TFSMLayer")
_CONTAINERS = ("Functional", "Model", "Sequential")
_SEPARABLE = ("kernel_initializer", "kernel_regularizer", "kernel_constraint")
_UNKNOWN_TO_3 = {
    "Conv2DTranspose": ("groups",),
    "DepthwiseConv2D": ("groups",),
    "SeparableConv2D": ("groups", *_SEPARABLE),
}
"""What Keras 2 writes of layers that Keras 3 does not take, and that never meant anything there."""
_REDUCED = ("float16", "bfloat16")


@dataclass(frozen=True)
class Mended:
    """A configuration that Keras 3 can build.

    Attributes:
        model: The tree.
        notes: What was changed, a line each.
    """

    model: dict[str, Any]
    notes: tuple[str, ...]


def layers_of(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every layer's entry, nested models' included, the model's own first."""
    yield config
    inside = config.get("config")
    if not isinstance(inside, dict):
        return
    children = [*inside.get("layers", ()), inside.get("layer"), inside.get("backward_layer")]
    for child in children:
        if isinstance(child, dict) and "class_name" in child:
            yield from layers_of(child)


def refuse_unsafe(config: dict[str, Any], path: Path) -> None:
    """Refuse layers whose code would have to be run, or that Keras 3 does not have.

    Raises:
        CheckpointError: There is one; it is named.
    """
    for layer in layers_of(config):
        kind = str(layer.get("class_name"))
        inside = layer.get("config")
        own = inside.get("name") if isinstance(inside, dict) else None
        name = str(layer.get("name") or own or "?")
        if kind in _CODE:
            raise CheckpointError(
                f"its layer {name!r} is a {kind}: Python code stored in the file, which is not run",
                where=path,
                remedy="rebuild the model with a layer class of your own in its place and pass "
                "--custom-objects FILE.py, or save it as a SavedModel with model.export(folder)",
            )
        if kind in _TENSORFLOW:
            raise CheckpointError(
                f"its layer {name!r} is a {kind}, a TensorFlow function that Keras 3 cannot build",
                where=path,
                remedy="save it as a SavedModel (model.export(folder), or tf.saved_model.save with "
                "Keras 2) and convert that folder",
            )


def refuse_other_kernels(config: dict[str, Any], path: Path) -> None:
    """Refuse what Keras's torch backend computes otherwise than TensorFlow and cannot be mended.

    Bicubic weights have a = -0.75 in torch and a = -0.5 in TensorFlow.

    Raises:
        CheckpointError: There is such a layer; it is named.
    """
    for layer in layers_of(config):
        inside = layer.get("config")
        if isinstance(inside, dict) and inside.get("interpolation") == "bicubic":
            raise CheckpointError(
                f"its layer {inside.get('name')!r} interpolates by bicubic weights, which Keras "
                "takes from torch here and from TensorFlow there, and which differ",
                where=path,
                remedy="save it as a SavedModel, model.export(folder), and convert that folder; or "
                "use interpolation='bilinear'",
            )


def refuse_unknown(config: dict[str, Any], known: Set[str], custom: Set[str], path: Path) -> None:
    """Refuse classes that neither Keras nor the custom objects have.

    Args:
        config: The tree.
        known: Layer classes of Keras itself.
        custom: Names under which classes of the user's are at hand.
        path: Of the file.

    Raises:
        CheckpointError: There are some; all are named.
    """
    missing: list[str] = []
    for layer in layers_of(config):
        kind = str(layer.get("class_name"))
        names = (kind, kind.rpartition(">")[2], str(layer.get("registered_name")))
        if not _is_keras(layer, known) and custom.isdisjoint(names) and kind not in missing:
            missing.append(kind)
    if missing:
        words = ", ".join(repr(name) for name in missing)
        raise CheckpointError(
            f"it is built of classes that are not Keras's own: {words}",
            where=path,
            remedy="pass --custom-objects FILE.py with the Python file that defines "
            f"{'it' if len(missing) == 1 else 'them'}, or --factory FILE.py:FUNCTION",
        )


def _is_keras(layer: dict[str, Any], known: Set[str]) -> bool:
    """Whether a class is Keras's: by its module, which HDF5 files of Keras 2 do not state."""
    module, kind = layer.get("module"), layer.get("class_name")
    if module:
        return str(module).split(".")[0] == "keras"
    return not layer.get("registered_name") and (kind in known or kind in _CONTAINERS)


def mended(config: dict[str, Any], *, keras_version: str) -> Mended:
    """The configuration as Keras 3 understands it.

    Args:
        config: The tree; untouched.
        keras_version: Which Keras wrote it.
    """
    old = keras_version.startswith("2.")
    notes: list[str] = []
    model = _mend(config, old=old, notes=notes)
    return Mended(model, tuple(dict.fromkeys(notes)))


def _mend(value: Any, *, old: bool, notes: list[str], key: str = "") -> Any:
    if isinstance(value, list):
        return [_mend(each, old=old, notes=notes, key=key) for each in value]
    if key == "dtype" and _is_reduced(value):
        notes.append("its reduced precision (mixed_float16 or the like) is computed in float32")
        return "float32"
    if old and key.endswith("activation") and _function(value) == "hard_sigmoid":
        notes.append("its hard_sigmoid is Keras 2's, clip(0.2 x + 0.5, 0, 1)")
        return HARD_SIGMOID_2
    if not isinstance(value, dict):
        return value
    made = {k: _mend(v, old=old, notes=notes, key=k) for k, v in value.items()}
    inside = made.get("config")
    if old and isinstance(inside, dict):
        for name in _UNKNOWN_TO_3.get(str(made.get("class_name")), ()):
            inside.pop(name, None)
    return made


def _is_reduced(value: Any) -> bool:
    if isinstance(value, dict):
        inside = value.get("config")
        value = inside.get("name") if isinstance(inside, dict) else None
    return isinstance(value, str) and value.removeprefix("mixed_") in _REDUCED


def _function(value: Any) -> str | None:
    """The name of an activation, plain or serialised as an object."""
    if isinstance(value, dict):
        value = value.get("config") or value.get("class_name")
    return value if isinstance(value, str) else None
