"""What every room may rely on: clock, ids, errors and the open-transaction guard."""
