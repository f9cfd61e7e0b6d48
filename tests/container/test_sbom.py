"""The bill of materials is valid CycloneDX and lists each package and the weights in use."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.conftest import ROOT


@pytest.mark.parametrize("python", [(), ("--python", "3.11")])
def test_it_tells_of_every_package_and_of_the_weights(
    tmp_path: Path, python: tuple[str, ...]
) -> None:
    output = tmp_path / "sbom.json"
    command = [sys.executable, "docker/sbom.py", "--output", str(output), *python]
    subprocess.run(command, cwd=ROOT, check=True)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(output.read_text()) is None
    components = json.loads(output.read_text())["components"]
    packages = [each for each in components if each["type"] == "library"]
    pins = (ROOT / "docker" / "requirements.txt").read_text()
    pins_by_marker = re.findall(r"^([\w.-]+)==(.*)", pins, re.MULTILINE)
    pinned = {name for name, marker in pins_by_marker if "win32" not in marker}
    # Each package once, even if each Python has its own pin.
    assert sorted(each["name"] for each in packages) == sorted(pinned)
    (numpy,) = (each["version"] for each in packages if each["name"] == "numpy")
    condition = "<" if python else ">="
    assert f"numpy=={numpy} ; python_full_version {condition} '3.12'" in pins
    (runtime,) = (each for each in packages if each["name"] == "onnxruntime")
    assert runtime["purl"] == f"pkg:pypi/onnxruntime@{runtime['version']}"
    assert runtime["externalReferences"][0]["hashes"][0]["alg"] == "SHA-256"
    networks = [each for each in components if each["type"] == "machine-learning-model"]
    assert {"mobilenetv2-224", "mobilenetv2-112"} <= {each["name"] for each in networks}
    for network in networks:
        data = (ROOT / network["properties"][0]["value"]).read_bytes()
        assert network["hashes"][0]["content"] == hashlib.sha256(data).hexdigest()
