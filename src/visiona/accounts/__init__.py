"""Built-in accounts: people, their passwords, their sessions and the tokens that name them."""
