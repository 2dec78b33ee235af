"""Training and fine-tuning: recipe, loop, resume, evaluation."""
