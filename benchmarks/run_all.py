"""Run every benchmark in turn with short settings and print their last lines together.

A benchmark that fails is named with its exit status and the others still run; the exit status here
is then 1. The figures for the README come from each script with its own defaults.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SHORT: dict[str, tuple[str, ...]] = {
    "runtime_overhead.py": (),
    "accuracy.py": ("--test-images", "1000"),
    "family.py": ("--test-images", "1000"),
    "int8_accuracy.py": ("--settings", "1", "--test-images", "1000"),
    "imagenet_weights.py": ("--networks", "lite0", "--settings", "1", "--rounds", "5"),
    "int8_hostile.py": ("--seeds", "1", "--spreads", "64", "--test-images", "1000"),
    "int8_per_tensor.py": ("--test-images", "1000"),
    "corruptions.py": ("--networks", "ghostnet_100_cifar10", "--images", "200"),
    "conversion.py": (),
    "int8_latency.py": ("--rounds", "30"),
    "peers_table.py": ("--networks", "ghostnet_050", "--loads", "4"),
    "rewrites.py": ("--networks", "ghostnet_050", "--loads", "4"),
    "raw_input.py": ("--rounds", "30"),
    "int16_layers.py": ("--rounds", "20"),
    "whole_networks.py": (),
    "network_verdicts.py": ("--draws", "5", "--fitting-draws", "20"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="each script's own settings")
    args = parser.parse_args()
    lines: dict[str, str] = {}
    for script, short in SHORT.items():
        print(f"== {script}", flush=True)
        command = [sys.executable, str(HERE / script), *(() if args.full else short)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        print(done.stdout, end="", flush=True)
        lines[script] = _last(done)
    print("== results")
    print("\n".join(lines.values()))
    raise SystemExit(any("failed" in json.loads(line) for line in lines.values()))


def _last(done: subprocess.CompletedProcess[str]) -> str:
    """The benchmark's JSON line, or one that says how it failed."""
    if done.returncode == 0:
        return done.stdout.strip().splitlines()[-1]
    return json.dumps({"benchmark": Path(done.args[1]).stem, "failed": done.returncode})


if __name__ == "__main__":
    main()
