"""What a network's outputs are: class scores, or numbers that have no top-1.

Most files do not say. A row of at least two numbers is taken for class scores unless something says
otherwise, a single number only where something says that it parts two classes. What is found is
printed with its reason, and ``--task`` settles it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ghostedge.conversion.options import ConvertOptions
from ghostedge.conversion.source_options import Task
from ghostedge.records.manifest import Inferred
from ghostedge_convert import CheckpointConfig, Head
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.metadata import ModelMetadata

_TOLERANCE = 1e-3


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Whole words of a name: between signs, digits and changes of case.
_CLASS_WORDS = _words(
    "class classes classification classifier cls categories category logit logits prediction "
    "predictions prob probabilities probability probs softmax"
)
_OTHER_WORDS = _words(
    "age angle angles bbox bboxes bmi box boxes coord coords corners count density depth distance "
    "emb gaze height homography joint joints kp kps kpt kpts latent latents lmk location locations "
    "offset offsets orientation pitch points pose position positions price pts quaternion reg reid "
    "roll rotation speed steering throttle translation velocity xy xyxy xywh xyz yaw"
)
# An output's name says more than a layer's: the last layer of a backbone is among its features.
_OUTPUT_WORDS = _OTHER_WORDS | _words("feat feature features feats value values vector")
# A model's name says less: speed_limit_signs.onnx tells classes apart.
_MODEL_WORDS = _words("age bbox bboxes boxes coords depth gaze kpts lmk pose reid")
# Parts of words, long enough to mean nothing else: FaceLandmarks, facelandmarker, ArcFaceNet.
_OTHER_PARTS = re.compile(
    "landmark|keypoint|embed|regress|boundingbox|coordinate|descriptor|facenet|arcface|cosface"
)


@dataclass(frozen=True)
class Kind:
    """What a network is taken for.

    Attributes:
        classes: How many it tells apart; None where its outputs are no class scores.
        reason: What says so.
        binary: Whether one number parts two classes.
        probabilities: Whether the scores have been through a softmax or sigmoid.
        assumed: Whether nothing says so, but nothing says otherwise either.
    """

    classes: int | None
    reason: str
    binary: bool = False
    probabilities: bool = False
    assumed: bool = False

    @property
    def task(self) -> Task:
        """In the words of ``--task``."""
        return "regress" if self.classes is None else "classify"

    @property
    def fact(self) -> Inferred:
        """For the report."""
        words = {
            "regress": "held to signal-to-noise, without a top-1",
            "classify": "2 classes by one number" if self.binary else f"{self.classes} classes",
        }
        return Inferred("task", f"{self.task}: {words[self.task]}", self.reason)


@dataclass(frozen=True)
class Evidence:
    """Everything that may say what the outputs are.

    Attributes:
        options: What is stated.
        shapes: Of each output.
        rows: The one output's answers to some images, (images, numbers), where they are known.
        head: What stands at the network's end, where that is known.
        model_name: What the file, the function or the class is called.
        config: What stands beside the file.
        inside: What the file says about itself.
        member: Whether it is a member of the family, whose heads are classifiers.
    """

    options: ConvertOptions
    shapes: tuple[tuple[int, ...], ...]
    rows: npt.NDArray[np.float32] | None = field(default=None, repr=False)
    head: Head | None = None
    model_name: str = ""
    config: CheckpointConfig | None = None
    inside: ModelMetadata | None = None
    member: bool = False

    @property
    def columns(self) -> int:
        """Length of the one output's rows; 0 where the outputs are no single row of numbers."""
        real = self.rows is None or self.rows.dtype.kind == "f"  # or they are labels, indices
        one_row = real and len(self.shapes) == 1 and len(self.shapes[0]) == 2
        return self.shapes[0][1] if one_row else 0

    @property
    def classes(self) -> int:
        """How many classes the row scores, if it scores classes."""
        return max(2, self.columns)

    @property
    def ends_in(self) -> str | None:
        """The op at the network's end; a softmax that is written out by its numbers."""
        op = None if self.head is None else self.head.op
        if op is not None and op.endswith("Softmax"):
            return op
        if self.columns > 1 and self.rows is not None and _sums_to_one(self.rows):
            return "Softmax"
        return op

    def classifier(self, reason: str, *, assumed: bool = False) -> Kind:
        """A classifier, for this reason."""
        return Kind(
            self.classes,
            reason,
            binary=self.columns == 1,
            probabilities=self.ends_in in ("Sigmoid", "Softmax"),
            assumed=assumed,
        )


def kind_of(evidence: Evidence) -> Kind:
    """What the network is taken for: the first rule that has a say decides.

    Raises:
        InputError: ``--task classify`` or ``--num-classes`` does not fit its outputs.
    """
    _check(evidence)
    kind = next(filter(None, (rule(evidence) for rule in _RULES)), None)
    if kind is not None:
        return kind
    if evidence.columns == 1:
        return Kind(
            None, "one number, and nothing says that it parts two classes; --task classify does"
        )
    return evidence.classifier(
        "one row of numbers, and nothing says otherwise; --task regress does", assumed=True
    )


def _check(evidence: Evidence) -> None:
    options = evidence.options
    shapes = ", ".join(map(str, evidence.shapes))
    if options.source.task == "classify" and evidence.columns == 0:
        raise InputError(
            f"the network's output is of shape {shapes}, which is no row of class scores",
            where="--task",
            remedy="leave --task out",
        )
    fitting = (evidence.columns, evidence.classes) if evidence.columns else ()
    if options.source.num_classes is not None and options.source.num_classes not in fitting:
        raise InputError(
            f"the network's output is of shape {shapes}, which is not "
            f"{options.source.num_classes} classes",
            where="--num-classes",
            remedy="leave --num-classes out",
        )


def _by_flags(evidence: Evidence) -> Kind | None:
    options = evidence.options
    if options.source.task == "regress":
        return Kind(None, "from --task")
    if evidence.columns == 0:
        return Kind(None, "its output is no row of scores")
    flags = {
        "--task": options.source.task,
        "--labels": options.source.labels,
        "--eval": options.checks.eval,
        "--num-classes": evidence.classes
        if options.source.num_classes == evidence.classes
        else None,
    }
    stated = [flag for flag, value in flags.items() if value is not None]
    return evidence.classifier(f"from {stated[0]}") if stated else None


def _by_metadata(evidence: Evidence) -> Kind | None:
    inside = evidence.inside
    if inside is None:
        return None
    reason = "from the metadata inside the file"
    if not inside.classifies:
        return Kind(None, reason)
    return evidence.classifier(reason) if evidence.columns > 1 or inside.binary else None


def _by_config(evidence: Evidence) -> Kind | None:
    config = evidence.config
    if config is None:
        return None
    if config.labels is not None and len(config.labels) == evidence.classes:
        return evidence.classifier(f"{config.labels_origin} names {evidence.classes} labels")
    if config.num_classes == evidence.classes:
        return evidence.classifier(f"{config.origin} speaks of {evidence.classes} classes")
    return None


def _by_family(evidence: Evidence) -> Kind | None:
    if evidence.member and evidence.columns > 1:
        return evidence.classifier("a member of the family ends in its classifier")
    return None


def _by_softmax(evidence: Evidence) -> Kind | None:
    if evidence.columns > 1 and evidence.ends_in in ("Softmax", "LogSoftmax"):
        return evidence.classifier("it ends in a softmax")
    return None


def _by_names(evidence: Evidence) -> Kind | None:
    for what, name, others in _names(evidence):
        words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}
        if words & _CLASS_WORDS:
            reason = f"the {what} is called {name!r}"
            return evidence.classifier(reason) if evidence.columns > 1 else None
        if words & others or _OTHER_PARTS.search(re.sub("[^a-z]", "", name.lower())):
            return Kind(None, f"the {what} is called {name!r}")
    return None


def _names(evidence: Evidence) -> tuple[tuple[str, str, frozenset[str]], ...]:
    """What has a name, the name, and the words that speak against class scores.

    The nearest to the output comes first.
    """
    head, stated = evidence.head, evidence.options.source.output_names
    outputs = stated or (() if head is None else (head.output,))
    layers = () if head is None else head.names
    return (
        *(("output", name, _OUTPUT_WORDS) for name in outputs),
        *(("head", name, _OTHER_WORDS) for name in layers),
        ("model", evidence.model_name, _MODEL_WORDS),
    )


def _by_unit_rows(evidence: Evidence) -> Kind | None:
    """An embedding; probabilities, which are never below zero, are none."""
    if evidence.rows is None or evidence.columns < 2:
        return None
    lengths = np.linalg.norm(evidence.rows.astype(np.float64), axis=1)
    if np.abs(lengths - 1).max() < _TOLERANCE and evidence.rows.min() < 0:
        return Kind(None, "its rows are unit vectors")
    return None


def _by_sigmoid(evidence: Evidence) -> Kind | None:
    """One probability; several may be labels that do not exclude each other, or coordinates."""
    if evidence.columns == 1 and evidence.ends_in == "Sigmoid":
        return evidence.classifier("it ends in a sigmoid")
    return None


def _sums_to_one(rows: npt.NDArray[np.float32]) -> bool:
    """Whether rows are probabilities of classes of which an image has one."""
    sums = rows.sum(axis=1, dtype=np.float64)
    return bool((rows >= 0).all() and np.abs(sums - 1).max() < _TOLERANCE)


_RULES: tuple[Callable[[Evidence], Kind | None], ...] = (
    _by_flags,
    _by_metadata,
    _by_config,
    _by_family,
    _by_softmax,
    _by_names,
    _by_unit_rows,
    _by_sigmoid,
)
"""In order: what the user states, what the file states, what the network computes, its names."""
