"""The service as the tutorials build it: Flask, the res10 SSD (or Haar), Keras `model.predict`.

It is configured fairly. The network is built once per worker and not per request, all faces of a
frame are one batch, and decoding and detection happen once. OpenCV and TensorFlow use one thread
each, because there is one worker per core. The weights are random, since they do not affect the
time that the network takes.
"""

from __future__ import annotations

import os
from typing import Any

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_NUM_INTRAOP_THREADS": "1"}
os.environ["TF_NUM_INTEROP_THREADS"] = "1"

import cv2
import keras
import numpy as np
from flask import Flask, Response, jsonify, request

from model.detectors.classic import Haar, Ssd
from model.detectors.faces import DetectorUnavailable, FaceDetector

SIZE = 224
MIN_CONFIDENCE = 0.5

app = Flask(__name__)


def detector() -> FaceDetector:
    """Return the res10 SSD, or Haar if its weights are not installed (`make detectors`)."""
    try:
        return Ssd()
    except DetectorUnavailable:
        return Haar()


def network() -> keras.Model:
    """Return MobileNetV2 with the tutorials' head."""
    base = keras.applications.MobileNetV2(
        input_shape=(SIZE, SIZE, 3), include_top=False, weights=None
    )
    x = keras.layers.AveragePooling2D((7, 7))(base.output)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(128, activation="relu")(x)
    x = keras.layers.Dropout(0.5)(x)
    return keras.Model(base.input, keras.layers.Dense(2, activation="softmax")(x))


cv2.setNumThreads(1)
faces_of, mask_net = detector(), network()
mask_net.predict(np.zeros((1, SIZE, SIZE, 3), np.float32), verbose=0)


@app.get("/readyz")
def readyz() -> Response:
    """Report that the network is loaded."""
    return jsonify(detector=type(faces_of).__name__)


@app.post("/predict")
def predict() -> Response:
    """Find and classify the faces in a JPEG."""
    frame = cv2.imdecode(np.frombuffer(request.get_data(), np.uint8), cv2.IMREAD_COLOR)
    rgb = cv2.cvtColor(np.asarray(frame), cv2.COLOR_BGR2RGB)
    found = faces_of.detect(np.asarray(rgb, np.uint8), MIN_CONFIDENCE)
    crops = []
    for face in found:
        box = face.box
        crop = rgb[box.y : box.y + box.height, box.x : box.x + box.width]
        crop = cv2.resize(crop, (SIZE, SIZE)).astype(np.float32)
        crops.append(keras.applications.mobilenet_v2.preprocess_input(crop))
    answers = mask_net.predict(np.stack(crops), verbose=0) if crops else []
    faces: list[dict[str, Any]] = [
        {"box": [f.box.x, f.box.y, f.box.width, f.box.height], "mask": float(mask)}
        for f, (mask, _) in zip(found, answers, strict=True)
    ]
    return jsonify(faces=faces)
