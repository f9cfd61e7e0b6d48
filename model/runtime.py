"""Run networks: the one place that says how ONNX Runtime is set up."""

from __future__ import annotations

from onnxruntime import InferenceSession, SessionOptions

ONLY_ERRORS = 3


def session(network: bytes) -> InferenceSession:
    """Load an ONNX network for the CPU, one thread a call; calls may come from many threads."""
    options = SessionOptions()
    options.intra_op_num_threads = 1  # frames are the parallelism
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # it would keep a plan for each frame size ever seen
    options.log_severity_level = ONLY_ERRORS
    return InferenceSession(network, options, providers=["CPUExecutionProvider"])
