"""Visiona: personal AI clones, trained on your own photos, private by construction."""
