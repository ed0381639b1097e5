"""What a model file says about itself.

The same JSON document travels in a TFLite metadata buffer (named ``ghostedge``) and in ONNX
``metadata_props`` (key ``ghostedge``), so a model file needs no side file. The schema is versioned:
a reader refuses a version newer than its own rather than misread it. A document is of the oldest
version that says all of it, so that older readers read what they can.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from ghostedge_runtime.errors import ModelFileError

METADATA_KEY = "ghostedge"
SCHEMA_VERSION = 2
"""The newest; only ``binary`` needs it."""

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
ColorOrder = Literal["RGB", "BGR"]
Layout = Literal["NHWC", "NCHW"]
Precision = Literal["float32", "float16", "dynamic", "int8"]
"""float16 and dynamic (int8) store the weights so and compute in float32; int8 computes on it."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the network's input.

    The shorter side is resized to ``floor(input side / crop_pct)``, the centre is cropped to
    ``input_size``, then ``(pixel / 255 - mean) / std`` per channel: timm's evaluation transform
    (``crop_mode="center"``). There are as many channels as means: images are decoded to grey for
    one, to RGB for three and to RGBA for four; transparency is a channel like the others, 255 where
    the image has none.

    Attributes:
        input_size: Height and width in pixels.
        interpolation: Pillow filter for the resize.
        crop_pct: Share of the resized image that the crop keeps, in (0, 1].
        mean: Per channel, on the [0, 1] scale, in ``color_order``.
        std: Per channel, on the [0, 1] scale, in ``color_order``.
        color_order: Order of the channels the network expects; transparency comes last in both,
            and grey images have none.
    """

    input_size: tuple[int, int] = (224, 224)
    interpolation: Interpolation = "bilinear"
    crop_pct: float = 0.875
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    color_order: ColorOrder = "RGB"

    def __post_init__(self) -> None:
        if len(self.input_size) != 2 or min(self.input_size) < 1:
            raise ValueError(f"input_size must be (height, width) in pixels, got {self.input_size}")
        if self.interpolation not in get_args(Interpolation):
            raise ValueError(
                f"interpolation must be one of {', '.join(get_args(Interpolation))}, "
                f"got {self.interpolation!r}"
            )
        if not 0 < self.crop_pct <= 1:
            raise ValueError(f"crop_pct must be in (0, 1], got {self.crop_pct}")
        if len(self.mean) != len(self.std):
            raise ValueError(f"mean has {len(self.mean)} channels but std has {len(self.std)}")
        if min(self.std) <= 0:
            raise ValueError(f"std must be positive, got {self.std}")


@dataclass(frozen=True)
class InputSpec:
    """What the graph's image input takes.

    ``normalized`` is False when the graph takes raw pixels (uint8, 0 to 255) and normalises
    them itself, True when the caller subtracts the mean and divides by the std.
    """

    layout: Layout
    dtype: Literal["uint8", "float32"]
    normalized: bool


@dataclass(frozen=True)
class ArchitectureInfo:
    """A member of the family at a width, e.g. ``ghostnet_100`` = ``ghostnet`` at 1.0."""

    name: str
    family: str
    width: float
    num_classes: int


@dataclass(frozen=True)
class OutputQuantization:
    """What an integer output stands for: ``real = (stored - zero_point) * scale``."""

    name: str
    scale: float
    zero_point: int


@dataclass(frozen=True)
class QuantizationInfo:
    """How an int8 file was made.

    ``outputs`` turns int8 outputs into real numbers where the format itself does not carry the
    scales: ONNX keeps them inside the graph, out of a runtime's reach. A file of one output says
    the same in ``output_scale`` and ``output_zero_point``, which older readers look at; one of
    several leaves them out, so that none takes the first output's scale for all.

    The defaults describe files from before a field existed.

    Attributes:
        ranges: How the ends of activation ranges were chosen.
        calibration_images: How many images they were measured on.
        output_type: What the graph puts out.
        per_channel: Whether weights have a scale for every output channel, or one per tensor.
        equalized: Whether channels were rescaled first, without changing the float function.
        bias_correction: How biases were corrected: ``none``, ``fast`` or ``full``.
        rounding: How weights were rounded: ``nearest``, ``first`` (learned in the first layer) or
            ``adaptive``.
        float_layers: Names of the layers that were left float.
        outputs: Scale and zero point of each integer output.
    """

    ranges: str
    calibration_images: int
    output_type: Literal["float32", "int8"]
    output_scale: float | None = None
    output_zero_point: int | None = None
    per_channel: bool = True
    equalized: bool = False
    bias_correction: str = "none"
    rounding: str = "nearest"
    float_layers: tuple[str, ...] = ()
    outputs: tuple[OutputQuantization, ...] = ()

    def __post_init__(self) -> None:
        if len(self.outputs) == 1 and self.output_scale is None:
            (only,) = self.outputs
            object.__setattr__(self, "output_scale", only.scale)
            object.__setattr__(self, "output_zero_point", only.zero_point)

    def of_output(self, name: str) -> tuple[float | None, int | None]:
        """Scale and zero point of an integer output, None where the file tells neither."""
        if not self.outputs:
            return self.output_scale, self.output_zero_point
        by_name = {output.name: (output.scale, output.zero_point) for output in self.outputs}
        return by_name.get(name, (None, None))


@dataclass(frozen=True)
class Source:
    """The file the weights came from."""

    file: str
    sha256: str


@dataclass(frozen=True)
class ModelMetadata:
    """Everything a runtime needs to run the file and a person needs to know where it came from.

    ``classifies`` is False where no output is a row of class scores: feature maps, boxes, masks,
    embeddings. Files from before the field existed are of classifiers. ``probabilities`` is True
    where the scores have been through a softmax or sigmoid inside the graph. ``binary`` is True
    where the row is a single number that parts two classes: the logit of the second, or with
    ``probabilities`` its probability.
    """

    preprocessing: Preprocessing
    input: InputSpec
    architecture: ArchitectureInfo | None = None
    labels: tuple[str, ...] | None = None
    precision: Precision = "float32"
    quantization: QuantizationInfo | None = None
    source: Source | None = None
    producer: str | None = None
    classifies: bool = True
    probabilities: bool = False
    binary: bool = False

    def to_json(self) -> str:
        """Serialise to the schema's JSON, keys sorted so that equal metadata is equal bytes."""
        document = asdict(self)
        if not self.binary:  # a field of version 2, left out of documents of version 1
            del document["binary"]
        version = SCHEMA_VERSION if self.binary else 1
        return json.dumps({"schema_version": version, **document}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes, *, where: str | None = None) -> ModelMetadata:
        """Parse the schema's JSON.

        Raises:
            ModelFileError: The text is not JSON, is of a newer schema, or breaks a rule of it.
        """
        try:
            data = json.loads(text)
            version = data["schema_version"]
            if version > SCHEMA_VERSION:
                raise ModelFileError(
                    f"its metadata has schema version {version}, newer than {SCHEMA_VERSION}",
                    where=where,
                    remedy="upgrade with `pip install -U ghostedge-runtime`",
                )
            return cls(
                preprocessing=_build(Preprocessing, data["preprocessing"]),
                input=_build(InputSpec, data["input"]),
                architecture=_maybe(ArchitectureInfo, data.get("architecture")),
                labels=_labels(data.get("labels")),
                precision=data.get("precision", "float32"),
                quantization=_quantization(data.get("quantization")),
                source=_maybe(Source, data.get("source")),
                producer=data.get("producer"),
                classifies=data.get("classifies", True),
                probabilities=data.get("probabilities", False),
                binary=data.get("binary", False),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelFileError(
                f"its ghostedge metadata cannot be read ({error!r})",
                where=where,
                remedy="convert the model again with `ghostedge convert`",
            ) from error


def _labels(data: object) -> tuple[str, ...] | None:
    if data is None:
        return None
    if not isinstance(data, list) or not all(isinstance(label, str) for label in data):
        raise TypeError("labels must be a list of strings")
    return tuple(data)


def _build(kind: type[Any], data: Mapping[str, Any]) -> Any:
    """Make a frozen dataclass from a JSON object: lists become tuples, unknown keys are ignored.

    Unknown keys come from a newer minor writer of the same schema version.
    """
    fields = kind.__dataclass_fields__
    return kind(
        **{k: tuple(v) if isinstance(v, list) else v for k, v in data.items() if k in fields}
    )


def _maybe(kind: type[Any], data: Mapping[str, Any] | None) -> Any:
    return None if data is None else _build(kind, data)


def _quantization(data: Mapping[str, Any] | None) -> QuantizationInfo | None:
    if data is None:
        return None
    outputs = [_build(OutputQuantization, output) for output in data.get("outputs") or ()]
    info: QuantizationInfo = _build(QuantizationInfo, {**data, "outputs": outputs})
    return info
