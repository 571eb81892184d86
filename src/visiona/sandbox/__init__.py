"""Local servers that speak the providers' documented protocols, and say that they are a sandbox."""
