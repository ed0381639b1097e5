"""A network that is no member of the family: what is known of it, put together.

Nothing is inferred from its weights. What it computes is found by asking it once; how images become
its input, flags say, or what stands beside or inside its file, or else the family's ImageNet
default.

Networks of somebody else's, which may do what cannot be exported, or take images otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from torch.utils import _pytree as pytree

from ghostedge.conversion.options import ConvertOptions
from ghostedge.conversion.source import (
    Answers,
    Loaded,
    Network,
    channel_fact,
    check_channels,
    class_names,
    for_channels,
    overridden,
    preprocessing_facts,
)
from ghostedge.conversion.task import Evidence, Kind, kind_of
from ghostedge.records.manifest import Inferred
from ghostedge_convert import CheckpointConfig, ResolvedPreprocessing, export_onnx, head_of
from ghostedge_convert.names import SINGLE_OUTPUT
from ghostedge_convert.sources.float32 import in_float32
from ghostedge_convert.sources.module import in_a_line
from ghostedge_convert.sources.onnx import LoadedOnnx
from ghostedge_runtime.errors import GhostEdgeError, InputError, ModelFileError
from ghostedge_runtime.metadata import ModelMetadata, Precision, Preprocessing, Source

_DTYPES = {"tensor(float16)": np.float16, "tensor(double)": np.float64}


@dataclass(frozen=True)
class GivenTorchNetwork:
    """A module in evaluation mode; see ``Network``.

    Attributes:
        module: Maps float32 (N, C, H, W) to a tensor, or to several.
        title: What it is, for messages.
        in_channels: C.
        input_size: Height and width in pixels.
    """

    module: torch.nn.Module
    title: str
    in_channels: int
    input_size: tuple[int, int]

    def to_onnx(self, *, batch: int) -> onnx.ModelProto:
        """Export the module.

        Raises:
            InputError: It cannot be exported; says what torch says.
        """
        try:
            return export_onnx(
                self.module, input_size=self.input_size, batch=batch, in_channels=self.in_channels
            )
        except GhostEdgeError:
            raise
        except Exception as error:  # torch raises what it likes, and the module's code too
            raise InputError(
                f"torch cannot export it ({in_a_line(error)})",
                where=self.title,
                remedy="its forward may not branch on the values of tensors, nor compute outside "
                "torch: torch.export.export(module, (example,)) has to succeed",
            ) from error

    def answers(self, images: npt.NDArray[np.float32]) -> Answers:
        """The module's own outputs."""
        with torch.inference_mode():
            found = self.module(torch.from_numpy(images))
        return tuple(tensor.numpy() for tensor in pytree.tree_leaves(found))


@dataclass(frozen=True)
class GivenOnnxNetwork:
    """A float ONNX model: converted in the form it was brought to, asked as it was read."""

    given: LoadedOnnx = field(repr=False)

    def to_onnx(self, *, batch: int) -> onnx.ModelProto:
        """See ``Network``; its batch has been fixed."""
        del batch
        return self.given.model

    def answers(self, images: npt.NDArray[np.float32]) -> Answers:
        """The outputs of the model as it was read, in ONNX Runtime."""
        images = self.given.original_input(images)
        session = self._session
        image = session.get_inputs()[0]
        feed = images.astype(_DTYPES.get(image.type, images.dtype))
        found = session.run(None, {image.name: feed})
        return tuple(each.astype(np.float32) if each.dtype.kind == "f" else each for each in found)

    @property
    def notes(self) -> tuple[str, ...]:
        """What its answers are, where they are not the original's own."""
        if self._session_and_doubt[1] is None:
            return ()
        return (
            "ONNX Runtime does not compute it in its own precision, so the files are compared with "
            "the same graph in float32",
        )

    @property
    def _session(self) -> onnxruntime.InferenceSession:
        return self._session_and_doubt[0]

    @cached_property
    def _session_and_doubt(self) -> tuple[onnxruntime.InferenceSession, Exception | None]:
        """The original; in float32 where ONNX Runtime has no kernels for bfloat16 and float64."""
        original = self.given.original
        try:
            return _session_of(original), None
        except Exception as error:  # onnxruntime's errors have no common base
            try:
                return _session_of(in_float32(original)), error
            except Exception:  # as above; the first one says more
                raise ModelFileError(
                    f"ONNX Runtime cannot load it ({in_a_line(error)})",
                    where=self.given.source.file,
                    remedy="export it again; see that onnxruntime.InferenceSession takes it",
                ) from error


def _session_of(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # what it warns of in somebody's file is not ours to mend
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


@dataclass(frozen=True)
class Given:
    """What a door found.

    Attributes:
        network: To be converted.
        title: What it is: ``module Net (given)``.
        source: The file it came from.
        in_channels: C.
        input_size: Height and width that it is converted at.
        size_origin: Where that is from; None where preprocessing says.
        config: What stands beside or inside the file.
        inside: What the file says about itself.
        notes: What was found on the way.
        precision: What the network itself computes in.
    """

    network: Network
    title: str
    source: Source
    in_channels: int
    input_size: tuple[int, int]
    size_origin: str | None = None
    config: CheckpointConfig | None = None
    inside: ModelMetadata | None = None
    notes: tuple[str, ...] = ()
    precision: Precision = "float32"


def size_for(options: ConvertOptions, config: CheckpointConfig | None) -> tuple[int, int]:
    """The size of a network that any size will do for: what is stated, else the default."""
    known = None if config is None else config.preprocessing
    stated: tuple[int, int] | None = options.source.preprocessing.input_size
    return stated or (known or Preprocessing()).input_size


def loaded(given: Given, options: ConvertOptions) -> Loaded:
    """Ask the network for its outputs, and say how images become its input.

    Raises:
        InputError: A flag contradicts it.
        ImageError: ``--eval`` does not fit its classes.
    """
    taken = resolved(given.config, given.in_channels)
    preprocessing = replace(overridden(taken.preprocessing, options), input_size=given.input_size)
    check_channels(preprocessing, given.in_channels)
    exported = given.network.to_onnx(batch=options.source.batch)
    kind = _kind(given, exported, options)
    named = class_names(given.config, options, kind)
    count = "none" if kind.classes is None else str(kind.classes)
    return Loaded(
        network=given.network,
        origin=given.title.partition(" (")[0],
        architecture=None,
        kind=kind,
        preprocessing=preprocessing,
        labels=named.labels,
        evaluation=named.evaluation,
        source=given.source,
        inferred=(
            Inferred("architecture", given.title, "as it was given"),
            channel_fact(given.in_channels, "from the network"),
            Inferred("classes", count, "from the network's output"),
            kind.fact,
            *_facts(preprocessing, taken, given, options),
            named.fact,
        ),
        notes=given.notes,
        origin_precision=given.precision,
        exported=exported,
    )


def resolved(config: CheckpointConfig | None, channels: int) -> ResolvedPreprocessing:
    """What a config says of a network of so many channels, else the family's default."""
    found = ResolvedPreprocessing(Preprocessing(), "family default")
    if config is not None and config.preprocessing is not None:
        found = ResolvedPreprocessing(config.preprocessing, "config.json", config.defaulted)
    return for_channels(found, channels)


def _kind(given: Given, exported: onnx.ModelProto, options: ConvertOptions) -> Kind:
    shape = (options.source.batch, given.in_channels, *given.input_size)
    # Any numbers but zeros, of which a network without biases makes zeros again.
    noise = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    answers = given.network.answers(noise)
    head = head_of(exported)
    if isinstance(given.network, GivenTorchNetwork) and head.output == SINGLE_OUTPUT:
        head = replace(head, output="")  # the exporter's word, which says nothing of the network
    return kind_of(
        Evidence(
            options,
            shapes=tuple(each.shape for each in answers),
            rows=answers[0],
            head=head,
            model_name=options.source.artefact_name,
            config=given.config,
            inside=given.inside,
        )
    )


def _facts(
    preprocessing: Preprocessing,
    resolved: ResolvedPreprocessing,
    given: Given,
    options: ConvertOptions,
) -> tuple[Inferred, ...]:
    facts = preprocessing_facts(preprocessing, resolved, options, given.config)
    known = {"input_size": given.size_origin}
    return tuple(replace(fact, origin=known.get(fact.name) or fact.origin) for fact in facts)
