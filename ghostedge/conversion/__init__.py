"""What ``ghostedge convert`` does.

`api` and the command make the groups of options (`options`, of `option_groups` and
`source_options`, each field stated as `option_fields` says). `convert` reads MODEL (`sources` has a
row for each kind, which ends in a `source`; `quantized_onnx` is the one of another shape), lets
`run` take the `stages` one after the other, and writes the manifest. Stages make `graphs` and files
of them (`artefacts`), hold int8 to its budget (`guard`), compare the files on `images` (`compare`,
with `classes`, `outputs` and the `gap` between two) and time them (`timing`).
"""
