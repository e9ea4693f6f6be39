"""Refinement: settings improved by gradient, checked on exactly rendered sound.

Starts from the controller's prediction, stays inside guardrails, and keeps what is better by the
objective and the prior of settings.
"""
