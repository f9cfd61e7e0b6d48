"""Write a CycloneDX document of the image's contents: pinned packages and shipped weights.

Example: python docker/sbom.py --output runs/sbom.json
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
REQUIREMENTS = ROOT / "docker" / "requirements.txt"
WEIGHTS = ROOT / "model" / "weights"
NETWORKS = {".onnx", ".caffemodel", ".prototxt"}


def base_python() -> str:
    """Return the Python of the default base image, such as 3.12."""
    match = re.search(r"^ARG BASE_IMAGE=python:(\d+\.\d+)", (ROOT / "Dockerfile").read_text())
    if match is None:
        raise ValueError(
            "BASE_IMAGE in the Dockerfile names no Python version. Set it with --python 3.12."
        )
    return match[1]


def requirements_for(python: str) -> str:
    """Return the requirements that a version of Python installs on Linux."""
    target = {"python_version": python, "python_full_version": f"{python}.0"}
    target |= {"sys_platform": "linux", "platform_system": "Linux"}
    kept = []
    for line in REQUIREMENTS.read_text().replace("\\\n", " ").splitlines():
        named = line.split(" --hash")[0].split("#")[0].strip()
        if not named:
            continue
        marker = Requirement(named).marker
        if marker is None or marker.evaluate(target):
            kept.append(line)
    return "\n".join(kept) + "\n"


def weights() -> list[dict[str, Any]]:
    """Return a component for each network in the image, with its sha256."""
    components = []
    for file in sorted(path for path in WEIGHTS.rglob("*") if path.suffix in NETWORKS):
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        card = file.with_name("mask_detector.json")
        told = json.loads(card.read_text()) if card.is_file() else {}
        if told.get("sha256", sha256) != sha256:
            raise ValueError(
                f"{file} has sha256 {sha256}, but its card says {told['sha256']}. Restore both "
                "as shipped, or export the model again."
            )
        path = file.relative_to(ROOT).as_posix()
        components.append(
            {
                "type": "machine-learning-model",
                "bom-ref": path,
                "name": told.get("name", file.name),
                "version": sha256[:12],
                "hashes": [{"alg": "SHA-256", "content": sha256}],
                "properties": [{"name": "facemask:path", "value": path}],
            }
        )
    return components


def document(python: str) -> dict[str, Any]:
    """Return the whole document; raises subprocess.CalledProcessError if cyclonedx-py fails."""
    command = ["cyclonedx_py", "requirements", "--pyproject", "pyproject.toml", "--short-PURLs"]
    process = subprocess.run(  # noqa: S603 (no part is user input)
        [sys.executable, "-W", "ignore", "-m", *command, "--output-reproducible", "-"],
        cwd=ROOT,
        input=requirements_for(python),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    made: dict[str, Any] = json.loads(process.stdout)
    networks = weights()
    made["components"] += networks
    made["dependencies"] += [{"ref": network["bom-ref"]} for network in networks]
    root = made["metadata"]["component"]["bom-ref"]
    for dependency in made["dependencies"]:
        if dependency["ref"] == root:
            dependency["dependsOn"] = sorted(each["bom-ref"] for each in made["components"])
    return made


def main() -> None:
    """Write the document and print what it contains."""
    parser = argparse.ArgumentParser(
        description="Write a CycloneDX document of the image's packages and weights.",
        epilog="Example: python docker/sbom.py --python 3.13 --output runs/sbom.json",
    )
    parser.add_argument("--output", type=Path, default=Path("runs/sbom.json"), metavar="FILE")
    parser.add_argument(
        "--python", metavar="X.Y", help="version in the base image (default: the Dockerfile's)"
    )
    arguments = parser.parse_args()
    try:
        made = document(arguments.python or base_python())
    except (ValueError, subprocess.CalledProcessError) as error:
        sys.exit(str(error))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(made, indent=1) + "\n")
    networks = sum(each["type"] == "machine-learning-model" for each in made["components"])
    packages = len(made["components"]) - networks
    print(f"{arguments.output}: {packages} packages and {networks} networks.")


if __name__ == "__main__":
    main()
