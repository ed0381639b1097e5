"""Weights from the Hugging Face Hub: which file of a repository, fetched once, then from the cache.

``huggingface_hub`` does the fetching, so its environment holds: ``HF_ENDPOINT``, ``HF_HOME``,
``HF_HUB_OFFLINE``, ``HF_TOKEN``. It is an extra of its own (about 26 MB, with an HTTP client), for
converting a file that is here needs no network.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

try:
    import huggingface_hub
    from huggingface_hub import constants, errors
except ImportError as error:
    from ghostedge_runtime.errors import MissingDependencyError

    raise MissingDependencyError(
        f"hf-hub: needs huggingface_hub, which cannot be imported ({error})",
        where="hf-hub:",
        remedy="pip install 'ghostedge[convert,hub]', or pass a file",
    ) from error

from ghostedge_convert.checkpoint.load import SUFFIXES
from ghostedge_runtime.errors import CheckpointError, InputError

T = TypeVar("T")

PREFIX = "hf-hub:"
_FORM = re.compile(r"(?P<repo>(?:[\w.-]+/)?[\w.-]+)(?:@(?P<revision>(?!.*\.\.)[^@\s]+))?")
_CONFIG = "config.json"
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""What the Hub's own libraries write, the safer first."""


@dataclass(frozen=True)
class HubFile:
    """A weights file in the cache, its ``config.json`` beside it where the repository has one.

    Attributes:
        path: Where it is.
        origin: The repository, its commit and the file: ``hf-hub:owner/name@1a2b3c/file``.
        notes: What was chosen, a line each.
    """

    path: Path
    origin: str
    notes: tuple[str, ...]


def fetch(model: str) -> HubFile:
    """Fetch the weights that a name stands for, or find them in the cache.

    Args:
        model: ``hf-hub:owner/name`` or ``hf-hub:owner/name@revision``; a revision is a branch, a
            tag or a commit.

    Raises:
        InputError: It is no such name, there is no such repository or revision, access to it has
            to be asked for, or the Hub cannot be reached and nothing is cached.
        CheckpointError: The repository has no weights, or they are sharded.
    """
    repo, revision = _split(model)
    try:
        names = _asked(repo, revision, model)
    except _UnreachableError as error:
        return _cached(repo, revision, model, str(error))
    chosen, notes = _choose(names, model)
    wanted = [chosen, *([_CONFIG] if _CONFIG in names else [])]
    try:
        path, *_ = [_fetched(repo, name, revision, model) for name in wanted]
    except _UnreachableError as error:
        return _cached(repo, revision, model, str(error))
    return _hub_file(Path(path), repo, notes)


def _split(model: str) -> tuple[str, str | None]:
    match = _FORM.fullmatch(model.removeprefix(PREFIX))
    if match is None:
        raise InputError(
            f"{model!r} names no repository",
            where="MODEL",
            remedy=f"write {PREFIX}owner/name, or {PREFIX}owner/name@revision",
        )
    return match["repo"], match["revision"]


class _UnreachableError(Exception):
    """The Hub gave no answer; the text gives the reason."""


def _asked(repo: str, revision: str | None, model: str) -> list[str]:
    """The names of a repository's files."""
    info = _translated(lambda: huggingface_hub.HfApi().model_info(repo, revision=revision), model)
    return [sibling.rfilename for sibling in info.siblings or ()]


def _fetched(repo: str, name: str, revision: str | None, model: str) -> str:
    """Where a file is in the cache, once it is there."""
    return _translated(
        lambda: huggingface_hub.hf_hub_download(repo, name, revision=revision), model
    )


def _translated(call: Callable[[], T], model: str) -> T:
    """The call's result, or the Hub's answer as an error of ours.

    Raises:
        InputError: The Hub refuses.
        _UnreachableError: It gives no answer.
    """
    try:
        return call()
    except errors.GatedRepoError as error:
        raise InputError(
            "access to this repository has to be asked for",
            where=model,
            remedy="ask for it on its page, then log in with `hf auth login` or set HF_TOKEN",
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise InputError(
            "the Hub has no such repository, or shows it only to its owners",
            where=model,
            remedy=f"check the name ({PREFIX}owner/name); for a private one set HF_TOKEN",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise InputError(
            "the repository has no such revision",
            where=model,
            remedy="name a branch, a tag or a whole commit after the @",
        ) from error
    except errors.HFValidationError as error:
        raise InputError(
            f"this is no repository's name ({error})",
            where=model,
            remedy=f"write {PREFIX}owner/name",
        ) from error
    except errors.OfflineModeIsEnabled as error:
        raise _UnreachableError("HF_HUB_OFFLINE is set") from error
    except Exception as error:  # each HTTP library that it is built on has errors of its own
        line = str(error).strip().partition("\n")[0] or type(error).__name__
        raise _UnreachableError(f"the Hub cannot be reached ({line})") from error


def _cached(repo: str, revision: str | None, model: str, why: str) -> HubFile:
    """The files as they were fetched before.

    Raises:
        InputError: They were not.
    """
    folder = _snapshot(repo, revision)
    if folder is None:
        raise InputError(
            f"{why}, and nothing of it is cached",
            where=model,
            remedy="fetch it once with the network there and HF_HUB_OFFLINE unset, or pass a file",
        )
    chosen, notes = _choose([path.name for path in sorted(folder.iterdir())], model)
    return _hub_file(folder / chosen, repo, (f"{why}: the cached copy is used", *notes))


def _snapshot(repo: str, revision: str | None) -> Path | None:
    """The folder of a revision's files in the cache, whose layout the Hub's documentation gives."""
    root = Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}"
    reference = root / "refs" / (revision or "main")
    commit = reference.read_text().strip() if reference.is_file() else revision
    folder = root / "snapshots" / (commit or "")
    return folder if commit and folder.is_dir() else None


def _choose(names: Sequence[str], model: str) -> tuple[str, tuple[str, ...]]:
    """The file with the weights.

    Raises:
        CheckpointError: There is none, they are sharded, or it is not clear which.
    """
    for name in _WEIGHTS:
        if name in names:
            return name, ()
    sharded = [name for name in names if name.endswith(".index.json")]
    if sharded:
        raise CheckpointError(
            f"its weights are sharded ({sharded[0]})",
            where=model,
            remedy="join them where you trust them: load the model, then "
            "safetensors.torch.save_file(model.state_dict(), 'model.safetensors')",
        )
    others = [n for n in names if "/" not in n and PurePosixPath(n).suffix.lower() in SUFFIXES]
    if len(others) == 1:
        return others[0], (f"took {others[0]}, the repository's only weights file",)
    if others:
        raise CheckpointError(
            f"it has several weights files: {', '.join(sorted(others)[:8])}",
            where=model,
            remedy="download the one you mean and pass its path",
        )
    raise CheckpointError(
        f"the repository has no weights; it has {', '.join(sorted(names)[:8]) or 'no files'}",
        where=model,
        remedy=f"pass one with {' or '.join(_WEIGHTS)}",
    )


def _hub_file(path: Path, repo: str, notes: tuple[str, ...]) -> HubFile:
    commit = path.parent.name
    origin = f"{PREFIX}{repo}@{commit[:12]}/{path.name}"
    return HubFile(path, origin, (f"{origin}, in the cache", *notes))
