"""Images: load, save, import, tag, list, inspect, remove, and those that come with the install."""

from .image import Image, Loaded, Removed, Step

__all__ = ["Image", "Loaded", "Removed", "Step"]
