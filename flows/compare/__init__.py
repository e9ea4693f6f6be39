"""``stemwright balance``: methods of balancing side by side, measured and to be listened to."""
