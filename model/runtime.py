"""Run networks: the one place that says how ONNX Runtime is set up."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

ONLY_ERRORS = 3


def session(network: bytes) -> InferenceSession:
    """Load an ONNX network for the CPU, one thread a call; calls may come from many threads."""
    # Only now: gunicorn's settings import this too, and the threads that the runtime starts when it
    # is imported would not outlive the fork of a worker, which then fails to end.
    from onnxruntime import InferenceSession, SessionOptions  # noqa: PLC0415

    options = SessionOptions()
    options.intra_op_num_threads = 1  # frames are the parallelism
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # it would keep a plan for each frame size ever seen
    options.log_severity_level = ONLY_ERRORS
    return InferenceSession(network, options, providers=["CPUExecutionProvider"])
