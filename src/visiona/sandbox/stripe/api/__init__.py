"""Stripe's v1 resources: each module declares its `ROUTES`."""
