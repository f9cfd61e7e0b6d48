"""Configure ONNX Runtime, which runs the networks."""

from __future__ import annotations

from onnxruntime import InferenceSession, SessionOptions

ONLY_ERRORS = 3


def session(network: bytes) -> InferenceSession:
    """Load an ONNX network for the CPU; each call uses one thread, and calls may be concurrent."""
    options = SessionOptions()
    options.intra_op_num_threads = 1  # parallelism comes from concurrent frames
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # would keep a memory plan for every frame size
    options.log_severity_level = ONLY_ERRORS
    return InferenceSession(network, options, providers=["CPUExecutionProvider"])
