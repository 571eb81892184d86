"""Erasure and export of everything that is kept of a person."""
