"""Photos that people upload of themselves: intake, verdicts, deletion."""
