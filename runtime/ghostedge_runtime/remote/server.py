"""What the other end of a connection can ask this device for, a process for each request.

| verb | input | answers |
|---|---|---|
| ``check BACKEND…`` | – | what does not import |
| ``install EXTRA…`` | a byte now and then | the Python that now has it |
| ``prepare ID`` | the plan, JSON | its folder, and which files are missing |
| ``receive SECONDS`` | a tar of files named by SHA-256 | which arrived |
| ``start ID`` | – | that it has started |
| ``watch ID OFFSET`` | a byte now and then | its status, line by line, and what it measured |
| ``end ID`` | – | that nothing of it runs any more and its folder is gone |

``supervise ID`` and ``measure ID`` are the run itself and answer nobody.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ghostedge_runtime.errors import GhostEdgeError
from ghostedge_runtime.remote import REPLY, cache, environment, watch
from ghostedge_runtime.remote.runs import RunFolder, start, supervise, write_whole

_PATIENCE_S = 180.0

Answers = Iterable[Mapping[str, Any]]
Verb = Callable[[Sequence[str]], Answers]


def main(arguments: Sequence[str]) -> int:
    """Do what is asked and print the answers; 1 where the answer is an error."""
    verb, *rest = arguments
    try:
        for answer in _VERBS[verb](rest):
            _say(answer)
    except GhostEdgeError as error:
        _say({"error": {"what": error.what, "remedy": error.remedy}})
        return 1
    except watch.UnheardError:
        return 1
    except OSError as error:
        _say({"error": {"what": _system(error), "remedy": "see to that on the device"}})
        return 1
    return 0


def _say(answer: Mapping[str, Any]) -> None:
    print(REPLY + json.dumps(answer), flush=True)


def _system(error: OSError) -> str:
    what = error.strerror or str(error)
    return f"{what}: {error.filename}" if error.filename else f"{what} in {cache.cache_folder()}"


def _run(name: str) -> RunFolder:
    return RunFolder(cache.cache_folder() / "runs" / name)


def _check(backends: Sequence[str]) -> Answers:
    beside = environment.beside(cache.cache_folder())
    yield {
        "lacking": environment.lacking(backends),
        "beside": str(beside) if beside.exists() else None,
    }


def _install(extras: Sequence[str]) -> Answers:
    wheel = next(path for path in sys.path if path.endswith(".whl"))
    python = environment.install(cache.cache_folder(), Path(wheel), extras, _PATIENCE_S)
    yield {"python": str(python)}


def _prepare(words: Sequence[str]) -> Answers:
    plan, folder = json.load(sys.stdin), cache.cache_folder()
    run = _run(words[0])
    run.path.mkdir(parents=True, exist_ok=True)
    write_whole(run.plan, json.dumps(plan))
    missing = cache.missing(folder, plan["sizes"], plan["models"])
    yield {"missing": missing, "folder": str(run.path)}


def _receive(words: Sequence[str]) -> Answers:
    yield from cache.receive(cache.cache_folder(), sys.stdin.buffer, float(words[0]))
    yield {"received": True}


def _start(words: Sequence[str]) -> Answers:
    run = _run(words[0])
    run.read_plan()
    start(run)
    yield {"started": True}


def _supervise(words: Sequence[str]) -> Answers:
    supervise(_run(words[0]))
    return ()


def _measure(words: Sequence[str]) -> Answers:
    # Imports numpy, which a device without it still answers the other verbs about.
    from ghostedge_runtime.remote.measure import measure  # noqa: PLC0415  # see above

    measure(_run(words[0]))
    return ()


def _watch(words: Sequence[str]) -> Answers:
    yield from watch.watch(_run(words[0]), int(words[1]))


def _end(words: Sequence[str]) -> Answers:
    run, folder = _run(words[0]), cache.cache_folder()
    bound = run.limits().cache_bytes if run.plan.exists() else None
    run.stop()
    run.remove()
    if bound is not None:
        cache.tidy(folder, bound)
    yield {"ended": True}


_VERBS: Mapping[str, Verb] = {
    "check": _check,
    "install": _install,
    "prepare": _prepare,
    "receive": _receive,
    "start": _start,
    "supervise": _supervise,
    "measure": _measure,
    "watch": _watch,
    "end": _end,
}
