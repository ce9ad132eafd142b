"""Labelled 3D maps: built from drives with known poses, stored by tile, read by the localizer."""
