"""Helper library of the course; it imports nothing, so that every lesson opens quickly."""

__version__ = "0.1.0"
