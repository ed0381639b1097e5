"""Our own int8 files of a study's network, made by the command line as users do."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from support.child import Usage, measure
from support.peers import our_key
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

    def float_file(self, kind: str) -> Path:
        """The float artefact of this format."""
        return self.folder / f"{self.manifest['name']}.{kind}"

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
    command = [*study.command, "--int8", "--calib", str(study.calibration)]
    command += ["-o", str(output), *arguments]
    log = output.with_name(f"{output.name}.log")
    print(f"{study.name}: ghostedge convert {' '.join(arguments)} …", file=sys.stderr)
    usage = measure(command, log=log, env=study.environment, allowed=(0, 3))
    manifest = json.loads((output / "manifest.json").read_text(encoding="utf-8"))
    return Ours(output, manifest, usage, tuple(arguments))


def convert_once(study: Study, arguments: Sequence[str] = ()) -> Ours:
    """The same, unless our code, the inputs and the arguments are those of an earlier run.

    Args:
        study: The network and its calibration images.
        arguments: As of ``convert``.

    Raises:
        ChildFailedError: It failed.
    """
    asked = json.dumps([*study.command, *arguments])
    parts = [asked, our_key(study.model, study.calibration_pixels)]
    output = study.folder / f"ours-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]}"
    record = output / "usage.json"
    if not record.exists():
        usage = convert(study, output, arguments).usage
        record.write_text(json.dumps(asdict(usage)), encoding="utf-8")
    manifest = json.loads((output / "manifest.json").read_text(encoding="utf-8"))
    usage = Usage(**json.loads(record.read_text(encoding="utf-8")))
    return Ours(output, manifest, usage, tuple(arguments))
