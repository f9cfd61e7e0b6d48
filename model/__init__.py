import os

# ONNX Runtime's builds report their use to their maker, by a database in the home folder and over
# the network, unless they find this when they are first imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
