"""What keeps Visiona from being abused: refused prompts, limits, a cap on cost, reports and takedown."""
