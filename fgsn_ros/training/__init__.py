"""Training of segmentation networks and their label statistics."""
