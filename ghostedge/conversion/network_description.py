"""A network that is no member of the family: what is known of it, put together.

Nothing is inferred from its weights. What it computes is found by asking it once; how images become
its input, flags say, or what stands beside or inside its file, or else the family's ImageNet
default.

Networks of somebody else's, which may do what cannot be exported, or take images otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx

from ghostedge.conversion.network import Network, TorchNetwork
from ghostedge.conversion.options import ConvertOptions
from ghostedge.conversion.source import (
    FloatSource,
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


def loaded(given: Given, options: ConvertOptions) -> FloatSource:
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
    return FloatSource(
        network=given.network,
        origin=given.title.partition(" (")[0],
        architecture=None,
        kind=kind,
        preprocessing=preprocessing,
        labels=named.labels,
        evaluation=named.evaluation,
        file=given.source,
        batch=options.source.batch,
        output_names=options.source.output_names,
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
    if isinstance(given.network, TorchNetwork) and head.output == SINGLE_OUTPUT:
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
