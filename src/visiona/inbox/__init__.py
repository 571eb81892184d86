"""What providers send us: stored once, dispatched later."""
