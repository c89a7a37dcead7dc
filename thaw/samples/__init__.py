"""Rendered sample archives in the layouts of the published ones, the same bytes everywhere.

Every picture is drawn with integer arithmetic on a supersampled canvas, so that the SHA-256 of an
archive can be pinned: floating-point drawing differs in the last bit between processors.
"""
