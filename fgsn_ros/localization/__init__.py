"""Particle-filter localization of a robot on a map of labelled points."""
