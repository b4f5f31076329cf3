"""Anthropic's Messages API. Source: Anthropic's API reference, and the types of its official Python SDK."""
