"""Each person's data key: made, kept outside the database, used to seal what is theirs, destroyed."""
