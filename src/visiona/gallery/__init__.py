"""A person's images: a read view over generations, and their deletion."""
