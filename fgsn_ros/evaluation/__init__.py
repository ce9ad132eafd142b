"""Errors of trajectories, segmentation scores, and the report of a run."""
