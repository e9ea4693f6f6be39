"""The session as a DAWproject file, which DAWs open with tracks, faders, pans and devices.

Stands beside the report: both say what a plan decided. Written to DAWproject 1.0's XML schema.
"""
