"""Runs of a clone on a prompt, and the images they deliver."""
