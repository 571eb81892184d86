"""Decoding pictures of strangers in processes that can do no harm.

A *nursery* (`child`) loads the libraries once, decodes nothing itself, and forks a child for every
picture: each starts clean, under limits of its own, and takes whatever a hostile file does to it
into its grave. Only `pipeline` and `faces`, which live there, touch an image library.
"""

from visiona.adapters.imaging.processor import ChildImageProcessor

__all__ = ["ChildImageProcessor"]
