"""What the benchmarks share: the workload, the peers, timing of child processes, the report.

Only ``workload_files`` imports torch and only ``engines`` an interpreter, so that a process which
measures its children's memory stays small itself (see ``child``).
"""
