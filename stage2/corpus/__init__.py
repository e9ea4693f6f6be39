"""Songs that the controller is trained on, synthesised with everything random but seeded."""
