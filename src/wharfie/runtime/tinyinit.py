"""stub"""
from __future__ import annotations


def image() -> bytes:
    """stub"""
    return b""
