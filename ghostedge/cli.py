"""The ``ghostedge`` command.

Exit codes: 0 done, 1 a fault of ours, 2 the input or the arguments are wrong, 3 done but a stated
budget was missed. Errors are one message without a traceback; ``--debug`` shows it.
"""

from __future__ import annotations

import importlib
import io
import sys
import traceback
from typing import NoReturn

import click

import ghostedge
from ghostedge.terminal import TextConsole, standard_streams
from ghostedge_runtime.errors import GhostEdgeError

_COMMANDS = (
    "convert",
    "tune",
    "bench",
    "compare",
    "report",
    "run",
    "inspect",
    "features",
    "doctor",
)


class _LazyGroup(click.Group):
    """Imports a subcommand only when it is asked for, so that ``run`` never waits for torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        cmd_name: str,
    ) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"ghostedge.commands.{cmd_name}")
        command: click.Command = module.command
        return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(ghostedge.__version__, prog_name="ghostedge")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Take a trained GhostNet to the device: ONNX, TFLite, int8, checked, timed and scored."""


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    # Where --debug stands does not matter to a person; click would take it before the command only.
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) < len(sys.argv[1:])
    with standard_streams():
        code = _code_of(arguments, debug=debug)
        try:
            sys.stdout.flush()
        except GhostEdgeError as error:
            code = _failed(str(error), error.exit_code)
    sys.exit(code)


def _code_of(arguments: list[str], *, debug: bool) -> int:
    """Run it; an error is said in one message."""
    try:
        code = cli.main(arguments, prog_name="ghostedge", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.Abort:
        return _failed("interrupted; nothing was left half-written", 130)
    except click.ClickException as error:
        message = io.StringIO()
        error.show(message)
        TextConsole(stderr=True).say(message.getvalue().rstrip())
        return error.exit_code
    except GhostEdgeError as error:
        if debug:
            TextConsole(stderr=True).say(traceback.format_exc())
        return _failed(str(error), error.exit_code)
    except BrokenPipeError:  # the reader of a pipe (`| head`) has gone
        return 0
    except Exception as error:  # the last line of defence: a fault of ours is said to be one
        if debug:
            TextConsole(stderr=True).say(traceback.format_exc())
        return _failed(
            f"internal error: {type(error).__name__}: {error}\n"
            "  → a fault of GhostEdge, not of your input: run again with `ghostedge --debug …` "
            "and report what it prints",
            1,
        )


def _failed(message: str, code: int) -> int:
    TextConsole(stderr=True).say(f"error: {message}")
    return code
