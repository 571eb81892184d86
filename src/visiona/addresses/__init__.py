"""Showing that an address is one's own, changing it, and choosing a new password by mail."""
