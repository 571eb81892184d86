"""Backups: made, checked, thinned out, rehearsed and restored."""
