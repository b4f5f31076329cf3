"""The request path: HTTP in, one decision, an answer of some upstream out."""
