"""The routes: the provider's own under `/v1`, delivery of files, and the sandbox's controls."""
