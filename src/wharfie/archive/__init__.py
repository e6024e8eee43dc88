"""The one tar reader and writer."""
