"""Append-only audit rows: what an account did, and when."""
