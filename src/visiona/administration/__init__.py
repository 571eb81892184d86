"""What administrators see of people and do to their accounts, and what a person lets them see."""
