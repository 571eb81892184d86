"""Clones: personal LoRA trainings. The table is `models`, the API says models."""
