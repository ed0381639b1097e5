"""What is kept: a conversion's `manifest`, runs in a `database`, a look inside (`features`).

`quantization` reads what an analysis of a quantized file printed; `output` writes a folder or file
whole or not at all.
"""
