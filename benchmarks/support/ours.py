"""Our own int8 files of a study's network, made by the command line as users do."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.child import Usage, measure
from support.peers import ghostedge
from support.scoring import Score, Scorer
from support.studies import Study

INT8_FORMATS = ("onnx", "tflite")


@dataclass(frozen=True)
class Ours:
    """What one ``ghostedge convert --int8`` left.

    Attributes:
        folder: With the artefacts.
        manifest: As parsed.
        usage: Of the whole command, checks included.
        arguments: Beyond MODEL, --int8, --calib and -o.
    """

    folder: Path
    manifest: dict[str, Any]
    usage: Usage
    arguments: tuple[str, ...]

    def int8_file(self, kind: str) -> Path:
        """The int8 artefact of this format."""
        return self.folder / f"{self.manifest['name']}_int8.{kind}"

    def scores(self, scorer: Scorer) -> dict[str, Score]:
        """The score of each int8 file, by format."""
        return {kind: scorer(self.int8_file(kind)) for kind in INT8_FORMATS}

    @property
    def stages_s(self) -> dict[str, float]:
        """Seconds by stage."""
        return {stage["name"]: stage["seconds"] for stage in self.manifest["stages"]}


def convert(study: Study, output: Path, arguments: Sequence[str] = ()) -> Ours:
    """Run ``ghostedge convert MODEL --int8 --calib … -o OUTPUT`` with more arguments.

    Args:
        study: The network and its calibration images.
        output: Folder, replaced.
        arguments: Appended.

    Raises:
        ChildFailedError: It failed; a missed budget (exit 3) does not count as that.
    """
    shutil.rmtree(output, ignore_errors=True)
    command = [ghostedge(), "convert", str(study.model), "--int8"]
    command += ["--calib", str(study.calibration), "-o", str(output), *arguments]
    log = output.with_name(f"{output.name}.log")
    print(f"{study.name}: ghostedge convert {' '.join(arguments)} …", file=sys.stderr)
    usage = measure(command, log=log, allowed=(0, 3))
    manifest = json.loads((output / "manifest.json").read_text(encoding="utf-8"))
    return Ours(output, manifest, usage, tuple(arguments))
