"""Subscriptions and payments: what a person has bought, and the periods that follow from it."""
