"""Where an image was taken on a map: retrieval, matching, label consistency, pose."""
