"""Configure ONNX Runtime, which runs the networks."""

from __future__ import annotations

from onnxruntime import (
    InferenceSession,
    OrtAllocatorType,
    OrtArenaCfg,
    OrtMemoryInfo,
    OrtMemType,
    SessionOptions,
    create_and_register_allocator,
)

ONLY_ERRORS = 3
DOUBLING = 0

# All networks share one arena, which takes 10 MB less than one for each. Without an arena the
# detector takes twice as long. An arena that grows only by what is requested takes 25 MB less for
# frames of one size, but 100 MB more for frames of many sizes.
create_and_register_allocator(
    OrtMemoryInfo("Cpu", OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, OrtMemType.DEFAULT),
    OrtArenaCfg({"arena_extend_strategy": DOUBLING}),
)


def session(network: bytes) -> InferenceSession:
    """Load an ONNX network for the CPU; each call uses one thread, and calls may be concurrent."""
    options = SessionOptions()
    options.intra_op_num_threads = 1  # parallelism comes from concurrent frames
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # would keep a memory plan for every frame size
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.log_severity_level = ONLY_ERRORS
    return InferenceSession(network, options, providers=["CPUExecutionProvider"])
