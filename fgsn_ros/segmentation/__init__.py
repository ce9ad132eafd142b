"""Fine-grained segmentation: image to label map."""
