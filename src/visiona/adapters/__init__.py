"""The ports, fulfilled by providers: payloads, statuses and errors are translated here and nowhere else."""
