"""Looks for words of people in everything that lies on disks, whatever they are packed in.

`tests/scanner/test_controls.py` plants a word in each of the forms that it claims to see through.
"""
