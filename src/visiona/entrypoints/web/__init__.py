"""The pages: rendered on the server with Jinja, improved in the browser by small hand-written modules."""
