"""How every HTML page is filled in: by the templates here, with all text escaped.

The pages open from disk and fetch nothing.
"""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ghostedge.terminal import printable


def environment() -> Environment:
    """What the templates are filled with; text is made printable, then escaped."""
    return Environment(
        loader=PackageLoader("ghostedge.show"),
        autoescape=True,
        finalize=_printable_text,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _printable_text(value: Any) -> Any:
    is_text = isinstance(value, str) and not isinstance(value, Markup)
    return printable(value) if is_text else value
