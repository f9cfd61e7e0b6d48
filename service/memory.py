"""How much memory the service may use, and how much it can need at the worst."""

from __future__ import annotations

import os
from pathlib import Path

from service.config import Config, ConfigError
from service.inference import SMALL

MB = 1_000_000
# Measured; bench/hardening/shortage.py checks that it is enough.
LEAST = 180 * MB  # 145 for gunicorn and a warmed worker; the rest to analyse small frames
BUFFERED_BODIES = 16  # of the largest size; each is counted twice while it is parsed
HAAR = 100 * MB  # per slot; its thread keeps this memory
PER_PIXEL = 11  # bytes; the worst case is a PNG or WebP


def available(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the bytes that this process may use: the machine's memory or the container's limit."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for file in (cgroup / "memory.max", cgroup / "memory/memory.limit_in_bytes"):
        if file.exists() and (limit := file.read_text().strip()) != "max":
            return min(machine, int(limit))
    return machine


def buffers(config: Config) -> int:
    """Return the limit on the bytes of bodies, stream messages and answers together."""
    return BUFFERED_BODIES * config.MAX_BODY_BYTES


def needed(config: Config) -> int:
    """Return the bytes needed at the worst.

    They cover large frames, a small frame in every slot, the detectors and all buffers.
    """
    frames = config.MAX_PIXELS + config.INFERENCE_SLOTS * min(SMALL, config.MAX_PIXELS)
    haar = HAAR * config.INFERENCE_SLOTS if "haar" in config.offered else 0
    return LEAST + PER_PIXEL * frames + haar + buffers(config)


def warning(config: Config, bytes_: int) -> str:
    """Return a warning if this many bytes of memory can run short, "" if they are enough.

    Raises ConfigError below LEAST: the system would kill every worker that gunicorn starts.
    """
    how = "Give it more (docker-compose.yml: mem_limit; deploy.toml: memory)"
    if bytes_ < LEAST:
        raise ConfigError(
            f"The service may use {bytes_ // MB} MB of memory and needs at least {LEAST // MB} MB. "
            f"{how}."
        )
    lacking = needed(config) - bytes_
    if lacking <= 0:
        return ""
    pixels = (config.MAX_PIXELS - lacking / PER_PIXEL) // MB * MB
    instead = f", or set MAX_PIXELS={pixels:.0f}" if pixels > 0 else ", or lower MAX_PIXELS"
    return (
        f"The service may use {bytes_ // MB} MB of memory; large pictures can take "
        f"{needed(config) // MB} MB. The system would then kill the worker and its requests. "
        f"{how}{instead}."
    )
