"""Pictures made on a CPU out of a person's own photos: the sandbox's stand-in for a diffusion model."""
