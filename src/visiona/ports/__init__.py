"""What Visiona needs from the outside, as protocols and value types; adapters fulfil them."""
