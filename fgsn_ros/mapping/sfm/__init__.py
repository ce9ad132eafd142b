"""Poses of raw recordings: structure from motion with wheel odometry."""
