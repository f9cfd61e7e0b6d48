"""A Flask application that reads the body and returns a constant, to measure the cost of HTTP."""

from __future__ import annotations

from flask import Flask, Response, request

app = Flask(__name__)


@app.get("/readyz")
def readyz() -> Response:
    """Report that the server is up."""
    return Response("{}", mimetype="application/json")


@app.post("/predict")
def predict() -> Response:
    """Read the body and return an empty object."""
    request.get_data()
    return Response("{}", mimetype="application/json")
