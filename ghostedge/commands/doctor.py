"""``ghostedge doctor``: what does this machine have, and what does it lack?"""

from __future__ import annotations

from dataclasses import asdict

import click

from ghostedge.commands._common import json_option, print_json, stdout
from ghostedge.doctor import examine
from ghostedge.show.tables import doctor_tables


@click.command("doctor")
@json_option
def command(as_json: bool) -> None:
    """Show what this machine has and lacks, and the pip line that adds it."""
    report = examine()
    if as_json:
        print_json(asdict(report))
        return
    for table in doctor_tables(report):
        stdout().print(table)
