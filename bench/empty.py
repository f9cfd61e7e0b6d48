"""The floor of HTTP: a Flask application that reads the body and answers a constant."""

from __future__ import annotations

from flask import Flask, Response, request

app = Flask(__name__)


@app.get("/readyz")
def readyz() -> Response:
    """Answer that the server is up."""
    return Response("{}", mimetype="application/json")


@app.post("/predict")
def predict() -> Response:
    """Read the body and answer nothing."""
    request.get_data()
    return Response("{}", mimetype="application/json")
