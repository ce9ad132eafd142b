"""`fgsn correspondences`: training data from one recording's own feature tracks."""
