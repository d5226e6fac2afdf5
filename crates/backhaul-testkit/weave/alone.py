"""Imported before weave: with this nothing of it leaves the machine."""

import os

# Reports of errors.
os.environ["WANDB_ERROR_REPORTING"] = "false"
os.environ["DD_TRACE_ENABLED"] = "false"
os.environ["DD_INSTRUMENTATION_TELEMETRY_ENABLED"] = "false"
# Whatever else it asks, such as PyPI for newer versions: there is no proxy there.
os.environ["HTTPS_PROXY"] = "http://127.0.0.1:9"
