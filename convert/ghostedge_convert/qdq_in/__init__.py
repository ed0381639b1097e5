"""QDQ models that other quantizers made, brought to the form that lowering reads.

One file, one edit. The edits are exact unless their name says ``requantize`` or ``join``; those run
only where TFLite has no integer form for the model's, and only where the user allows it.
"""
