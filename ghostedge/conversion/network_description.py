"""A network that is no member of the family: what is known of it, put together.

Nothing is inferred from its weights. What it computes is found by asking it once; how images become
its input, flags say, or what stands beside or inside its file, or else the family's ImageNet
default.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx

from ghostedge.conversion.network import Network, TorchNetwork
from ghostedge.conversion.options import ConvertOptions
from ghostedge.conversion.source import (
    FloatSource,
    assumed_fields,
    channel_fact,
    check_channels,
    class_names,
    for_channels,
    overridden,
    preprocessing_facts,
)
from ghostedge.conversion.task import Evidence, Kind, kind_of
from ghostedge.records.manifest import Inferred
from ghostedge_convert import CheckpointConfig, ResolvedPreprocessing, head_of
from ghostedge_convert.names import SINGLE_OUTPUT
from ghostedge_runtime.metadata import ModelMetadata, Precision, Preprocessing, Source


@dataclass(frozen=True)
class NetworkDescription:
    """A network that is no member of the family, and what is known of it.

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
    beside = None if config is None else config.preprocessing
    stated: tuple[int, int] | None = options.source.preprocessing.input_size
    return stated or (beside or Preprocessing()).input_size


def source_of(description: NetworkDescription, options: ConvertOptions) -> FloatSource:
    """Ask the network for its outputs, and say how images become its input.

    Raises:
        InputError: A flag contradicts it.
        ImageError: ``--eval`` does not fit its classes.
    """
    taken = resolved(description.config, description.in_channels)
    preprocessing = replace(
        overridden(taken.preprocessing, options), input_size=description.input_size
    )
    check_channels(preprocessing, description.in_channels)
    exported = description.network.to_onnx(batch=options.source.batch)
    kind = _kind(description, exported, options)
    named = class_names(description.config, options, kind)
    count = "none" if kind.classes is None else str(kind.classes)
    return FloatSource(
        network=description.network,
        origin=description.title.partition(" (")[0],
        architecture=None,
        kind=kind,
        preprocessing=preprocessing,
        labels=named.labels,
        evaluation=named.evaluation,
        file=description.source,
        batch=options.source.batch,
        output_names=options.source.output_names,
        assumed=assumed_fields(taken, options, has_size=description.size_origin is not None),
        inferred=(
            Inferred("architecture", description.title, "as it was given"),
            channel_fact(description.in_channels, "from the network"),
            Inferred("classes", count, "from the network's output"),
            kind.fact,
            *_facts(preprocessing, taken, description, options),
            named.fact,
        ),
        notes=description.notes,
        origin_precision=description.precision,
        exported=exported,
    )


def resolved(config: CheckpointConfig | None, channels: int) -> ResolvedPreprocessing:
    """What a config says of a network of so many channels, else the family's default."""
    base = ResolvedPreprocessing(Preprocessing(), "family default")
    if config is not None and config.preprocessing is not None:
        base = ResolvedPreprocessing(config.preprocessing, "config.json", config.defaulted)
    return for_channels(base, channels)


def _kind(
    description: NetworkDescription, exported: onnx.ModelProto, options: ConvertOptions
) -> Kind:
    shape = (options.source.batch, description.in_channels, *description.input_size)
    # Any numbers but zeros, of which a network without biases makes zeros again.
    noise = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    answers = description.network.answers(noise)
    head = head_of(exported)
    if isinstance(description.network, TorchNetwork) and head.output == SINGLE_OUTPUT:
        head = replace(head, output="")  # the exporter's word, which says nothing of the network
    return kind_of(
        Evidence(
            options,
            shapes=tuple(answer.shape for answer in answers),
            rows=answers[0],
            head=head,
            model_name=options.source.artefact_name,
            config=description.config,
            inside=description.inside,
        )
    )


def _facts(
    preprocessing: Preprocessing,
    resolved: ResolvedPreprocessing,
    description: NetworkDescription,
    options: ConvertOptions,
) -> tuple[Inferred, ...]:
    facts = preprocessing_facts(preprocessing, resolved, options, description.config)
    origins = {"input_size": description.size_origin}
    return tuple(replace(fact, origin=origins.get(fact.name) or fact.origin) for fact in facts)
