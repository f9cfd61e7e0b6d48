"""Read deploy.toml, apply the flags, and report all mistakes at once."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from deploy.config import Config, ConfigError


def load(path: Path, overrides: dict[str, Any], *, required: bool = False) -> Config:
    """Read the file if it exists, override its values with the flags, and check the result.

    overrides: values by key; those of `environment` and `secrets` are added to the file's.
    Raises ConfigError with a line for each mistake.
    """
    values: dict[str, Any] = {}
    if path.exists():
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
            raise ConfigError(f"{path}: not readable as TOML: {error}") from error
    elif required:
        raise ConfigError(f"{path}: the file does not exist; give another path to --file")
    for key, value in overrides.items():
        both = isinstance(value, dict) and isinstance(values.get(key), dict)
        values[key] = values[key] | value if both else value
    try:
        # Through JSON: strict mode then accepts TOML's types, and a list for a tuple.
        return Config.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        lines: dict[str, str] = {}
        for detail in error.errors():
            key, line = _explained(detail, path, overrides)
            lines.setdefault(key, line)
        raise ConfigError("\n".join(lines.values())) from error


def _explained(detail: ErrorDetails, path: Path, overrides: dict[str, Any]) -> tuple[str, str]:
    """Return the key of a mistake and its message: place, given value, allowed values."""
    if detail["type"] == "rule":
        context = detail["ctx"]
        key, value, allowed = context["key"], context["value"], context["allowed"]
    else:
        parts = [str(part) for part in detail["loc"] if part != "[key]"]
        field = Config.model_fields.get(parts[0])
        if field is None:
            near = (
                difflib.get_close_matches(parts[0], Config.model_fields, 1) or Config.model_fields
            )
            return parts[0], f"{path}: {parts[0]}: unknown key; known: {', '.join(near)}"
        table = parts[0] in {"environment", "secrets"}
        key, value, allowed = ".".join(parts[: 1 + table]), detail["input"], field.description
        if parts[0] == "secrets":
            value = "..."  # it may be the secret itself
    top, *variable = key.split(".")
    flag = " ".join([f"--{top.replace('_', '-')}", *variable])
    return (
        key,
        f"{flag if top in overrides else f'{path}: {key}'} = {_shown(value)}; allowed: {allowed}",
    )


def _shown(value: object) -> str:
    text = f'"{value}"' if isinstance(value, str) else str(value).lower()
    return text if len(text) <= 80 else text[:77] + "..."


def flag_value(key: str, text: str) -> Any:
    """Read a flag's value as TOML would: true, 512 or a bare word; lists are comma-separated."""
    if str(Config.model_fields[key].annotation).startswith("tuple"):
        return [part.strip() for part in text.split(",")]
    if re.fullmatch(r"true|false|-?\d+(\.\d+)?", text):
        return tomllib.loads(f"value = {text}")["value"]
    return text
