"""A torch.export program as a module in evaluation mode."""

from __future__ import annotations

from pathlib import Path

import torch

from ghostedge_runtime.errors import ModelFileError

# Ops that compute otherwise in training, and where their arguments say that it is on.
_TRAINING_ARGUMENT = {
    "aten.batch_norm.default": 5,
    "aten.dropout.default": 2,
    "aten.feature_dropout.default": 2,
    "aten.alpha_dropout.default": 2,
    "aten._native_batch_norm_legit.default": 5,
    "aten.native_batch_norm.default": 5,
    "aten.native_dropout.default": 2,
}


def as_module(program: torch.export.ExportedProgram, path: Path) -> torch.nn.Module:
    """The module that computes a program.

    A program has no modes: what it does in training it was exported with.

    Raises:
        ModelFileError: It was exported in training mode.
    """
    for node in program.graph.nodes:
        place = _TRAINING_ARGUMENT.get(str(node.target))
        if place is not None and len(node.args) > place and node.args[place] is True:
            raise ModelFileError(
                f"it was exported in training mode (node {node.name!r} is {node.target})",
                where=path,
                remedy="call module.eval() before torch.export.export, and export it again",
            )
    # The guards are Python made of the file's text; the shapes are checked by its reader.
    module = program.module(check_guards=False)
    for part in module.modules():
        part.training = False  # eval() is refused by it, for there is nothing to switch
    return module
