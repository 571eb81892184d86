"""Visiona's own accounts: addresses and passwords."""
