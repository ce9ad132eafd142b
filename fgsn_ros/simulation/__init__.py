"""A procedural town, rendered from a driving car in several seasons."""
