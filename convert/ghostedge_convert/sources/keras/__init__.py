"""Keras models → float ONNX: files on Keras's torch backend, SavedModels on TensorFlow.

Keras and TensorFlow run in a process of their own. Keras reads its backend once, when it is first
imported, so the caller's own (a notebook's TensorFlow, say) would decide ours; TensorFlow writes
its log to the terminal from C++; and what either takes in memory goes when the process ends.
"""
