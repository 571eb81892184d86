"""Where an image comes from, told to anybody who has it."""
