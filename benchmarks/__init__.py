"""How fast Visiona is and how much memory it takes: ratios to the least that could do the same work,
taken in one run on one machine. Nothing here is asserted; figures are for people to read.
"""
