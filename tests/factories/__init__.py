"""Makers of test input: nothing binary lies in the repository."""
