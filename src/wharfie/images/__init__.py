"""Images: load, save, import, tag, list, inspect, remove, and those that come with the install."""
