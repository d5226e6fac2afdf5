"""What of LiteLLM is measured."""

import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm.proxy.proxy_server
