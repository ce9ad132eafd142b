import configparser
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).parents[1]


def source(folder: str) -> str:
    return "\n".join(path.read_text() for path in sorted((ROOT / folder).rglob("*.py")))


def imported_modules(text: str) -> set[str]:
    return set(re.findall(r"^ *(?:from|import) (\w+)", text, re.MULTILINE))


def ros_packages(kind: str = "exec_depend") -> set[str]:
    """Dependencies in package.xml that ROS brings: their keys are the names of their modules."""
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    keys = {element.text or "" for element in package.iter(kind)}
    return {key for key in keys if not key.startswith(("python3-", "lib"))}


def test_the_package_is_described_as_ament_python() -> None:
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    assert package.get("format") == "3"
    assert package.findtext("name") == "fgsn_ros"
    assert package.findtext("export/build_type") == "ament_python"
    maintainer = package.find("maintainer")
    assert maintainer is not None
    assert re.fullmatch(r"[\w.-]+@[\w-]+\.[\w.]+", maintainer.get("email", ""))
    assert (ROOT / "resource" / "fgsn_ros").exists()
    assert "Apache License" in (ROOT / "LICENSE").read_text()


def test_versions_agree() -> None:
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    version = package.findtext("version")
    assert f'version="{version}"' in (ROOT / "setup.py").read_text()
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_colcon_finds_the_executable_in_lib() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert setup["install"]["install_scripts"] == "$base/lib/fgsn_ros"
    assert setup["develop"]["script_dir"] == "$base/lib/fgsn_ros"
    assert '"fgsn = fgsn_ros.cli:main"' in (ROOT / "setup.py").read_text()


def test_what_is_required_is_imported_and_what_is_imported_is_required() -> None:
    names = {
        "array_api_compat": "array-api-compat",
        "cv2": "opencv-python-headless",
        "faiss": "faiss-cpu",
        "yaml": "pyyaml",
        "PIL": "pillow",
    }
    text = source("fgsn_ros")
    modules = imported_modules(text) - ros_packages() - sys.stdlib_module_names
    modules -= {"triton"}  # comes with a PyTorch for CUDA, and is asked for only there
    imported = {names.get(module, module) for module in modules}
    if "torch.utils.tensorboard" in text:
        imported.add("tensorboard")
    setup = (ROOT / "setup.py").read_text()
    required = set(re.findall(r'^        "([\w-]+)>=', setup, re.MULTILINE))
    assert imported - {"fgsn_ros"} == required


def test_what_the_nodes_and_the_launch_files_import_of_ros_is_a_dependency() -> None:
    modules = imported_modules(source("fgsn_ros/nodes") + "\n" + source("launch"))
    outside = modules - sys.stdlib_module_names - imported_modules(source("fgsn_ros/segmentation"))
    third_party = {"fgsn_ros", "yaml", "scipy", "numpy", "cv2", "torch"}
    assert outside - third_party <= ros_packages()


def test_the_nodes_are_executables_that_ros2_run_finds() -> None:
    setup = (ROOT / "setup.py").read_text()
    for name in ("segmentation_node", "localization_node"):
        assert f'"{name} = fgsn_ros.nodes.executables:{name}"' in setup
        assert (ROOT / "fgsn_ros" / "nodes" / f"{name}.py").exists()
