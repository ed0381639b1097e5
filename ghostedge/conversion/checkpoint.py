"""The checkpoint of a member of the family as MODEL: what the weights are is inferred from them."""

from __future__ import annotations

from ghostedge.conversion.network import TorchNetwork
from ghostedge.conversion.options import ConvertOptions
from ghostedge.conversion.source import (
    FROM_SHAPES,
    FloatSource,
    assumed_fields,
    channel_fact,
    check_channels,
    class_names,
    for_channels,
    is_for_colours,
    overridden,
    preprocessing_facts,
)
from ghostedge.conversion.task import Evidence, kind_of
from ghostedge.records.manifest import Inferred
from ghostedge_convert import (
    Detection,
    build,
    detect_architecture,
    load_checkpoint,
    resolve_preprocessing,
)
from ghostedge_convert.architectures.family import image_channels


def load_family_checkpoint(options: ConvertOptions) -> FloatSource:
    """Read the checkpoint, find out what it is and build it.

    The evaluation folder is listed here too, so that one that does not fit the network is refused
    before minutes of work.

    Raises:
        CheckpointError: The file cannot be used.
        InputError: A flag contradicts it.
        ImageError: ``--eval`` does not fit its classes.
    """
    checkpoint = load_checkpoint(
        options.source.model,
        ema=options.source.ema,
        unsafe_pickle=options.source.unsafe_pickle,
        key_prefix=options.source.key_prefix,
    )
    detection = detect_architecture(
        checkpoint,
        arch=options.source.arch,
        width=options.source.width,
        num_classes=options.source.num_classes,
    )
    architecture = detection.architecture
    network = build(checkpoint, architecture)
    channels = image_channels(network)
    resolved = for_channels(resolve_preprocessing(checkpoint, architecture), channels)
    preprocessing = overridden(resolved.preprocessing, options)
    check_channels(preprocessing, channels)
    kind = kind_of(
        Evidence(
            options,
            shapes=((options.source.batch, architecture.num_classes),),
            config=checkpoint.config,
            member=True,
        )
    )
    named = class_names(checkpoint.config, options, kind)
    inferred = (
        *_architecture_facts(detection, options),
        kind.fact,
        *(() if is_for_colours(preprocessing) else (channel_fact(channels, FROM_SHAPES),)),
        *preprocessing_facts(preprocessing, resolved, options, checkpoint.config),
        named.fact,
    )
    return FloatSource(
        network=TorchNetwork(network, preprocessing.input_size, channels),
        origin="checkpoint",
        architecture=architecture,
        kind=kind,
        preprocessing=preprocessing,
        labels=named.labels,
        evaluation=named.evaluation,
        file=checkpoint.source,
        batch=options.source.batch,
        output_names=options.source.output_names,
        assumed=assumed_fields(resolved, options),
        inferred=inferred,
        notes=(*checkpoint.notes, *detection.evidence),
    )


def _architecture_facts(detection: Detection, options: ConvertOptions) -> tuple[Inferred, ...]:
    architecture, unsure = detection.architecture, ""
    if detection.twins:
        means = " and the means its batch norms kept" if detection.measured else ""
        unsure = (
            f"{means}; its keys are those of {', '.join(detection.twins)} too: --arch says which"
        )
    facts = (
        ("architecture", architecture.name, options.source.arch, "--arch", unsure),
        ("width", f"{architecture.width:g}", options.source.width, "--width", ""),
        ("classes", str(architecture.num_classes), options.source.num_classes, "--num-classes", ""),
    )
    return tuple(
        Inferred(name, value, f"{FROM_SHAPES}{doubt}" if stated is None else f"from {flag}")
        for name, value, stated, flag, doubt in facts
    )
