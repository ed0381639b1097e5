"""A checkpoint becomes a torch module."""

from __future__ import annotations

import torch

from ghostedge_convert.architectures.family import empty_network
from ghostedge_convert.architectures.keys import refuse_keys, refuse_shapes
from ghostedge_convert.architectures.table import parse_architecture
from ghostedge_convert.checkpoint.load import Checkpoint
from ghostedge_convert.own_keys import own_weights
from ghostedge_convert.stem import COLOURS, channels_in
from ghostedge_runtime.metadata import ArchitectureInfo


def build(checkpoint: Checkpoint, architecture: ArchitectureInfo) -> torch.nn.Module:
    """Make the network of an architecture with a checkpoint's weights, in eval mode.

    The first convolution may read any number of channels, as many as its weights have.
    Weights in a training form are fused into the deployed network, which is the same function.

    Raises:
        CheckpointError: The weights do not fit the architecture.
        InputError: The architecture is not of a supported family.
    """
    family, _ = parse_architecture(architecture.family)
    own = own_weights(checkpoint.weights, family, checkpoint.source.file)
    weights, form = own.weights, own.form
    found = {key: tuple(value.shape) for key, value in weights.items()}
    size = family.sizes.stated_by(architecture, found)
    classes = architecture.num_classes
    network = empty_network(form, size, classes)
    channels = channels_in(found, network)
    if channels != COLOURS:
        network = empty_network(form, size, classes, channels)
    expected = network.state_dict()
    needed = {key: tuple(value.shape) for key, value in expected.items()}
    refuse_keys(found, needed, family.titled(form), checkpoint.source.file)
    refuse_shapes(found, needed, architecture.name, checkpoint.source.file, title=family.title)
    # Counters of batches, which training uses and some writers leave out, are the only gap.
    absent = {k: torch.zeros(v.shape, dtype=v.dtype) for k, v in expected.items() if k not in found}
    network.load_state_dict({**weights, **absent}, assign=True)
    network.eval()
    return network if family.fuse is None else family.fuse(network).eval()
