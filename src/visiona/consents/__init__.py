"""Consent to the use of a face: asked before the first photo, kept as it was given, withdrawn at any time."""
