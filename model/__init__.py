import os

# ONNX Runtime sends usage data to its maker, through a database in the home folder and over the
# network. This variable turns that off; it must be set before the first import.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
