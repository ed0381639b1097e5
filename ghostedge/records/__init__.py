"""What is kept: manifests, reports, the database of benchmarks."""
