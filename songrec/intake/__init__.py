"""Bringing songs into a library."""
