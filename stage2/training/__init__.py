"""How the controller is trained: examples, losses, checkpoints, the prior of settings."""
