"""The options of MODEL: what is converted, how it is read, and what the user says of it.

Each field is stated once, with its flag, its help and whom it is of use to; see `option_fields`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ghostedge.conversion.option_fields import (
    FLOAT,
    ModelKind,
    Refusal,
    Scope,
    Statement,
    check_values,
    stated,
)
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.metadata import ColorOrder, Interpolation

Task = Literal["classify", "regress"]
"""What a network is for: to tell classes apart, or to compute numbers of any other meaning."""

HUB = "hf-hub:"
"""What a MODEL from the Hugging Face Hub begins with."""

NO_FILE = "-"
"""The MODEL of a factory that makes the weights too."""

_SUFFIXES = (
    ".pth.tar",
    ".pt",
    ".pth",
    ".safetensors",
    ".bin",
    ".tar",
    ".ckpt",
    ".pkl",
    ".onnx",
    ".pt2",
    ".keras",
    ".h5",
    ".hdf5",
)

_NO_CHECKPOINT = Refusal("MODEL is no checkpoint of the family, so this has no effect on it")
_OF_FAMILY = Scope(ModelKind.CHECKPOINT, _NO_CHECKPOINT)
_OF_WEIGHTS = Scope(ModelKind.CHECKPOINT | ModelKind.FACTORY_WITH_WEIGHTS, _NO_CHECKPOINT)
_OF_KERAS = Scope(ModelKind.KERAS, Refusal("MODEL is no Keras model, so this has no effect on it"))
OF_QUANTIZED = Scope(
    ModelKind.QUANTIZED_ONNX,
    Refusal("only an .onnx that is quantized already can be requantized"),
)
"""Of what is asked only of an ONNX file that another tool quantized."""


@dataclass(frozen=True)
class PreprocessingOptions:
    """Preprocessing that the user states; None where it is left open."""

    input_size: tuple[int, int] | None = stated(
        None, Statement("Input side, or HEIGHTxWIDTH.", metavar="SIZE")
    )
    interpolation: Interpolation | None = stated(None, Statement("Filter of the resize."))
    crop_pct: float | None = stated(
        None, Statement("Share of the resized image that the crop keeps.")
    )
    mean: tuple[float, ...] | None = stated(
        None, Statement("Per channel, on the 0..1 scale.", metavar="R,G,B")
    )
    std: tuple[float, ...] | None = stated(
        None, Statement("Per channel, on the 0..1 scale.", metavar="R,G,B")
    )
    color_order: ColorOrder | None = stated(
        None,
        Statement("Order of the channels that the network takes, and of --mean and --std."),
    )

    def stated(self) -> dict[str, Any]:
        """The fields that the user states."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class SourceOptions:
    """What is converted, how it is read, and what is said of it.

    Raises:
        InputError: They contradict each other or are out of range.
    """

    model: Path
    ema: bool = stated(False, Statement("Prefer the averaged (EMA) weights.", _OF_WEIGHTS))
    key_prefix: str | None = stated(
        None,
        Statement(
            "Of a checkpoint that holds several networks: what the wanted one's keys begin with, "
            "e.g. teacher. [default: the student of a pair, else the only one]",
            _OF_WEIGHTS,
            metavar="PREFIX",
        ),
    )
    arch: str | None = stated(
        None,
        Statement("Architecture, e.g. ghostnet_100. [default: from the weights]", _OF_FAMILY),
    )
    width: float | None = stated(
        None, Statement("Channel multiplier. [default: from the weights]", _OF_FAMILY)
    )
    num_classes: int | None = stated(
        None, Statement("Number of classes. [default: from the weights]", FLOAT)
    )
    labels: Path | None = stated(None, Statement("Class names: text, a name a line, JSON or YAML."))
    task: Task | None = stated(
        None,
        Statement(
            "classify: MODEL's output is class scores, or one number that parts two classes. "
            "regress: numbers of any other meaning (landmarks, boxes, embeddings, an age). "
            "[default: from the labels, --eval, the output's last operator and names; printed with "
            "its reason]"
        ),
    )
    preprocessing: PreprocessingOptions = PreprocessingOptions()
    batch: int = stated(1, Statement("Static batch size."))
    requantize: bool = stated(
        False,
        Statement(
            "Of an .onnx: round what TFLite's int8 cannot hold, and say what that cost, instead of "
            "refusing it.",
            OF_QUANTIZED,
        ),
    )
    name: str | None = stated(None, Statement("What the files are called. [default: MODEL's name]"))
    factory: str | None = stated(
        None,
        Statement(
            "Make the network by calling package.module:function or file.py:function, whose code "
            "runs, and load the weights MODEL into it; MODEL is - where the function loads them.",
            FLOAT,
            metavar="MODULE:FUNCTION",
        ),
    )
    factory_args: str | None = stated(
        None,
        Statement(
            "Arguments of that call: an object of keyword arguments or an array.",
            FLOAT,
            metavar="JSON",
        ),
    )
    custom_objects: Path | None = stated(
        None,
        Statement(
            "Python file that defines the classes of a Keras model that are not Keras's own; its "
            "code runs.",
            _OF_KERAS,
            metavar="FILE.py",
        ),
    )
    output_names: tuple[str, ...] | None = stated(
        None,
        Statement(
            "What the outputs are called. [default: the network's own, where it returns a dict; "
            "else logits, or output_0, output_1, …]",
            FLOAT,
            metavar="NAME,NAME,…",
        ),
    )
    unsafe_pickle: bool = stated(
        False,
        Statement(
            "Where loading MODEL runs code from the file: let it, in a confined process that has "
            "no network and writes no file, and take the weights. Linux only.",
            _OF_WEIGHTS,
        ),
    )

    def __post_init__(self) -> None:
        self._check_model()
        check_values(self)
        if self.unsafe_pickle and self.is_onnx:
            raise InputError(
                "an .onnx holds no pickle", where="--unsafe-pickle", remedy="leave it out"
            )

    def _check_model(self) -> None:
        if self.factory_args is not None and self.factory is None:
            raise InputError(
                "there is no factory to pass them to",
                where="--factory-args",
                remedy="add --factory",
            )
        if not self.has_file and self.factory is None:
            raise InputError(
                f"{NO_FILE} stands for no file, which only --factory can do with",
                where="MODEL",
                remedy="pass a file, or add --factory",
            )
        if self.key_prefix is not None and not self.key_prefix.strip("."):
            raise InputError(
                f"{self.key_prefix!r} begins no key",
                where="--key-prefix",
                remedy="give what stands before the network's keys, such as student",
            )
        if self.name is not None and (not self.name.strip() or {"/", "\\"} & set(self.name)):
            raise InputError(
                f"files cannot be called {self.name!r}",
                where="--name",
                remedy="give a name without slashes; the folder is for -o to say",
            )

    @property
    def has_file(self) -> bool:
        """Whether MODEL is a file, and not a factory's own network."""
        return str(self.model) != NO_FILE

    @property
    def is_onnx(self) -> bool:
        """Whether MODEL is an ONNX file, float or quantized."""
        is_file = self.factory is None and not str(self.model).startswith(HUB)
        return is_file and self.model.suffix.lower() == ".onnx"

    @property
    def artefact_name(self) -> str:
        """The artefacts' common name."""
        return self.name or artefact_name(self.model, self.factory)


def artefact_name(model: Path, factory: str | None = None) -> str:
    """What the artefacts are called where nobody says.

    The file's name without its (double) suffix; a repository's without its owner and revision; the
    factory's function, where it makes the weights too.
    """
    if str(model) == NO_FILE and factory is not None:
        return factory.rpartition(":")[2].rpartition(".")[2]
    if str(model).startswith(HUB):
        return model.name.removeprefix(HUB).partition("@")[0]
    name = model.name
    for suffix in _SUFFIXES:
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name
