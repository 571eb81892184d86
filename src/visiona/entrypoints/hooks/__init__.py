"""Webhook receivers: verify, store, answer. What a webhook says is acted on later."""
