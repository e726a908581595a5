"""HTTP only: decode, call one thing below, encode. The only place that imports FastAPI."""
