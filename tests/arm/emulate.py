"""Run what a Raspberry Pi would run, on this machine: emulated, as Cortex-A72 and as Cortex-A76.

    python tests/arm/emulate.py                 # sets up, then runs the tests
    python tests/arm/emulate.py --set-up-only

Into ``.cache/arm`` go an arm64 Debian with Python from the distribution's packages, the aarch64
wheels of what `pip install ghostedge` installs, of ONNX Runtime and of tflite-runtime 2.14, this
checkout's own packages, and one folder per board: `python`, `python-onnxruntime` and
`python-tflite-runtime` in it start that board's Python under QEMU. What is there is not fetched
again; remove the folder to start anew. It needs no root, and takes packages from wherever this
machine's apt and pip take theirs.

Emulation shows whether ARM code computes the right numbers. It says nothing of speed, and the
instructions of a board are those that QEMU gives its processor, not those of one you hold.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("GHOSTEDGE_ARM", REPO / ".cache" / "arm"))
TOOLS = ("qemu-aarch64-static", "apt-get", "dpkg-deb")
# Python, and what the wheels take from the system.
PACKAGES = ("python3", "libstdc++6", "libgomp1")


@dataclass(frozen=True)
class Board:
    """A processor that QEMU plays, and what Linux on it writes into /proc/cpuinfo.

    XNNPACK and ONNX Runtime read that file to choose kernels, and crash on another machine's.
    """

    name: str
    features: str
    part: int
    variant: int
    revision: int
    cores: int = 4

    @property
    def cpuinfo(self) -> str:
        """The file, a paragraph a core, as the kernel's arch/arm64/kernel/cpuinfo.c has it."""
        rest = (
            f"BogoMIPS\t: 108.00\nFeatures\t: {self.features}\nCPU implementer\t: 0x41\n"
            f"CPU architecture: 8\nCPU variant\t: {self.variant:#x}\nCPU part\t: {self.part:#x}\n"
            f"CPU revision\t: {self.revision}\n\n"
        )
        return "".join(f"processor\t: {core}\n{rest}" for core in range(self.cores))


# The processors of a Raspberry Pi 4 and 5, their numbers as these boards print them.
BOARDS = (
    Board("cortex-a72", "fp asimd evtstrm crc32 cpuid", part=0xD08, variant=0, revision=3),
    Board(
        "cortex-a76",
        "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc "
        "dcpop asimddp",
        part=0xD0B,
        variant=4,
        revision=1,
    ),
)


class SetUpError(Exception):
    """A tool is missing or a download failed; the message says which."""


def run(*command: str | Path, **more: str) -> None:
    """Run a command with ``more`` in its environment; show what it said only if it failed."""
    done = subprocess.run(
        command,
        env=os.environ | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SetUpError(f"{shlex.join(map(str, command))}\n{done.stdout.strip()}")


def made_once(folder: Path, recipe: str, make: Callable[[Path], None]) -> Path:
    """The folder, made unless a whole one of the same recipe is there."""
    stamp = folder / ".recipe"
    if stamp.is_file() and stamp.read_text() == recipe:
        return folder
    print(f"making {folder}", file=sys.stderr)
    part = folder.with_name(f"{folder.name}.part")
    for old in (folder, part):
        shutil.rmtree(old, ignore_errors=True)
    part.mkdir(parents=True)
    make(part)
    (part / ".recipe").write_text(recipe)
    return part.rename(folder)


def unpack_debian(root: Path) -> None:
    """Fetch PACKAGES and what they depend on for arm64, and unpack them without installing.

    apt runs on a state of its own, in which nothing is installed and arm64 is the only
    architecture, over the machine's own sources.
    """
    state = root / "apt"
    for folder in ("lists/partial", "cache/archives/partial"):
        (state / folder).mkdir(parents=True)
    (state / "status").touch()
    settings = {
        "Dir::State": state,
        "Dir::State::status": state / "status",
        "Dir::Cache": state / "cache",
        "APT::Architecture": "arm64",
        "APT::Sandbox::User": "root",  # apt's own user may not write here
        "Acquire::Languages": "none",
        "Acquire::Retries": 3,
    }
    lines = [f'{key} "{value}";' for key, value in settings.items()]
    lines.append('APT::Architectures { "arm64"; };')
    config = state / "apt.conf"
    config.write_text("\n".join(lines))
    run("apt-get", "update", APT_CONFIG=str(config))
    get = ("apt-get", "install", "--yes", "--no-install-recommends", "--download-only")
    run(*get, *PACKAGES, APT_CONFIG=str(config))
    for package in sorted((state / "cache" / "archives").glob("*.deb")):
        run("dpkg-deb", "--extract", package, root)
    shutil.rmtree(state)


def install(target: Path, root: Path, *what: str | Path) -> None:
    """`pip install` for the emulated Python into a folder of its own."""
    python = (root / "usr/bin/python3").resolve().name.removeprefix("python")
    tags = ["manylinux2014_aarch64", *(f"manylinux_2_{n}_aarch64" for n in range(17, 37))]
    run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--target", target, "--python-version", python, "--only-binary=:all:"),
        *(part for tag in tags for part in ("--platform", tag)),
        *what,
    )


def make_sites(cache: Path, root: Path) -> dict[str, tuple[Path, ...]]:
    """Folders for PYTHONPATH by the wrapper that gets them.

    The dependencies are fetched again when a project file changes; our own packages are always
    installed again, for the checkout may have changed.
    """
    own, wheels = cache / "own", cache / "wheels"
    for old in (own, wheels):
        shutil.rmtree(old, ignore_errors=True)
    build = (sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check")
    run(*build, "--no-deps", "--wheel-dir", wheels, REPO / "runtime", REPO)
    ours = sorted(wheels.glob("*.whl"))
    install(own, root, "--no-deps", *ours)

    projects = "".join((REPO / p / "pyproject.toml").read_text() for p in (".", "runtime"))
    recipes: dict[str, tuple[str | Path, ...]] = {
        "base": ("--find-links", wheels, *ours),
        # Their dependencies are in the base already, or too old for it.
        "onnxruntime": ("--no-deps", "onnxruntime", "packaging", "protobuf"),
        "tflite-runtime": ("--no-deps", "tflite-runtime==2.14", "numpy<2"),
    }

    def made(name: str) -> Path:
        what = recipes[name]
        recipe = projects + " ".join(map(str, what))
        return made_once(cache / name, recipe, lambda site: install(site, root, *what))

    base = made("base")
    sites = {"python": (own, base), "python-onnxruntime": (made("onnxruntime"), own, base)}
    try:
        sites["python-tflite-runtime"] = (made("tflite-runtime"),)
    except SetUpError as error:  # its last wheels are for Python 3.11
        print(f"without tflite-runtime: {error}", file=sys.stderr)
    return sites


def make_board(board: Board, cache: Path, root: Path, sites: Mapping[str, Sequence[Path]]) -> None:
    """A root of links with the board's /proc/cpuinfo, and its interpreters beside it.

    QEMU looks into that root for every path before it takes the machine's own. The interpreter is
    told that its name is the wrapper's (-0), so that a process it starts is emulated too, and not
    to look for other packages (-S), which would be the machine's.
    """
    home = cache / board.name
    shutil.rmtree(home, ignore_errors=True)
    (home / "root" / "proc").mkdir(parents=True)
    (home / "root" / "proc" / "cpuinfo").write_text(board.cpuinfo)
    for part in root.iterdir():
        (home / "root" / part.name).symlink_to(part)
    for name, folders in sites.items():
        wrapper = home / name
        path = os.pathsep.join(map(str, folders))
        wrapper.write_text(
            "#!/bin/sh\n"
            f"export PYTHONHOME={shlex.quote(str(home / 'root' / 'usr'))}\n"
            f"export PYTHONPATH={shlex.quote(path)}\n"
            f"exec qemu-aarch64-static -cpu {board.name} -L {shlex.quote(str(home / 'root'))} "
            f"-0 {shlex.quote(str(wrapper))} {shlex.quote(str(root / 'usr/bin/python3'))} "
            '-S "$@"\n'
        )
        wrapper.chmod(0o755)


def set_up(cache: Path) -> None:
    """Make everything that is not there yet, and start every interpreter once.

    Raises:
        SetUpError: A tool is missing, a download failed or an interpreter does not start.
    """
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise SetUpError(f"{', '.join(missing)} not installed")
    root = made_once(cache / "debian", " ".join(PACKAGES), unpack_debian)
    sites = make_sites(cache, root)
    for board in BOARDS:
        make_board(board, cache, root, sites)
        for name in sites:
            run(cache / board.name / name, "-c", "import numpy")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--set-up-only", action="store_true", help="leave the tests to you")
    only_set_up = parser.parse_args().set_up_only
    CACHE.mkdir(parents=True, exist_ok=True)
    reason = CACHE / "not-set-up.txt"
    try:
        set_up(CACHE.resolve())
    except SetUpError as error:
        reason.write_text(str(error).partition("\n")[0])
        sys.exit(f"no emulated ARM: {error}")
    reason.unlink(missing_ok=True)
    if not only_set_up:
        tests = ("tests/arm", "tests/base_install", "-k", "cortex")
        command = [sys.executable, "-m", "pytest", *tests, "-n", "auto", "--dist", "loadfile"]
        sys.exit(subprocess.run(command, cwd=REPO, check=False).returncode)


if __name__ == "__main__":
    main()
