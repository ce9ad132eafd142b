"""Pixel pairs that show one 3D point in two images: found, stored, read."""
