"""The report: one HTML file, to read, look at and listen to without a network.

Measurements of a finished mix (:mod:`~pipeline.report.masking`, :mod:`~pipeline.report.findings`,
:mod:`~pipeline.report.stereo`), plots and tables as records, and the page that shows them. Text of
the user's is escaped once, in the templates.
"""
