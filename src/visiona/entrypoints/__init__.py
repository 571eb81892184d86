"""Where the outside comes in: the API, the pages, webhook receivers, the worker and the commands."""
