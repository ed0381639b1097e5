"""What a measurement ran on: the machine's facts, looks at it during the run, and doubts.

Everything about the system is read through `system.System`, so that a recording of another
machine (`python -m ghostedge_runtime.machine.record`) stands in for it in tests and in bug reports.

- `facts`: what does not change while a run lasts; `words.describe` says it in a line.
- `sensors`: temperatures, clocks and throttle counters at one moment.
- `doubts`: what in a run's trace makes its figures doubtful.
"""
