"""Private objects: their names, the short-lived links that open them, and their deferred deletion."""
