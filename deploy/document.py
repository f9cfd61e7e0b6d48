"""Building blocks of a CloudFormation template."""

from __future__ import annotations

from typing import Any

Document = dict[str, Any]


def ref(name: str) -> Document:
    """Refer to a parameter's value, or to a resource by its id."""
    return {"Ref": name}


def att(name: str, attribute: str) -> Document:
    """Refer to an attribute of a resource."""
    return {"Fn::GetAtt": [name, attribute]}


def sub(text: str) -> Document:
    """Fill in ${Name} and ${Name.Attribute}."""
    return {"Fn::Sub": text}


def resource(kind: str, **properties: Any) -> Document:
    """Describe a resource; kind: its type without `AWS::`."""
    return {"Type": f"AWS::{kind}", "Properties": properties}


def pairs(key: str, value: str, values: dict[str, Any]) -> list[Document]:
    """Return a mapping as the list of pairs that most AWS services require."""
    return [{key: name, value: held} for name, held in values.items()]
