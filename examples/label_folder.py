"""Label a folder of images: python examples/label_folder.py IMAGES NETWORK OUTPUT.

NETWORK is a checkpoint (.onnx or .safetensors). OUTPUT gets a PNG of label numbers for each image.
"""

import sys
from pathlib import Path

import cv2
import numpy as np

import fgsn_ros


def main(images: Path, network: Path, output: Path) -> None:
    """Write the label of each pixel, and say how sure the network is."""
    segmenter = fgsn_ros.Segmenter(fgsn_ros.load_checkpoint(network))
    output.mkdir(parents=True, exist_ok=True)
    for path in sorted(images.iterdir()):
        bgr = cv2.imread(str(path))
        if bgr is None:  # no image
            continue
        label_map = segmenter.segment(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
        height, width = bgr.shape[:2]
        labels = cv2.resize(label_map.labels, (width, height), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(output / f"{path.stem}.png"), labels)
        count = len(np.unique(labels))
        print(f"{path.name}: {count} labels, confidence {label_map.confidence.mean():.2f}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
