"""``stemwright train``: the controller's training as a recipe with steps of its own."""
