"""What of LangGraph is measured."""

import langgraph.checkpoint.sqlite
import langgraph.graph
