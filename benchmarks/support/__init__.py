"""What the benchmarks share: the workload, the peers, timing of child processes, the report.

Only ``workload`` imports torch and only ``interleaved`` an interpreter, so that a process which
measures its children's memory stays small itself (see ``child``).
"""
