"""Camera-based robot localization with fine-grained segmentation labels and wheel odometry."""
