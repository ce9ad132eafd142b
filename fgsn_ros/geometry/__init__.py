"""Rigid motions, trajectories and cameras."""
