"""A semantic map of a COLMAP model: its points, labelled by its own tracks."""

import contextlib
import dataclasses
import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix
from tqdm import tqdm

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import T_BASE_OPTICAL, CameraMount
from fgsn_ros.geometry.similarity import similarity_text
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.left_out import LeftOut
from fgsn_ros.lookahead import read_ahead
from fgsn_ros.mapping.blocks import Blocks, grouped
from fgsn_ros.mapping.builder import KeyFrames, MapSettings, feature_builder, write_blocks
from fgsn_ros.mapping.descriptors import ImageFeatures
from fgsn_ros.mapping.feature_builder import FeatureBuilder
from fgsn_ros.mapping.labelling import LabelVotes, vote
from fgsn_ros.mapping.map_files import MAP_FOLDER, load_map
from fgsn_ros.mapping.map_records import FloatArray, IndexArray
from fgsn_ros.mapping.model_frame import (
    MapFrame,
    PosedViews,
    frame_by_gps,
    frame_by_similarity,
    frame_of_itself,
)
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.mapping.structure import PosedFrame, StructurePoints
from fgsn_ros.mapping.tracks import Tracks
from fgsn_ros.outputs import whole_folder
from fgsn_ros.recordings.camera_files import read_camera
from fgsn_ros.recordings.colmap_model import (
    ColmapModel,
    read_colmap_model,
    reprojection_errors,
)
from fgsn_ros.recordings.image_folder import CAMERA_FILE
from fgsn_ros.recordings.image_names import natural
from fgsn_ros.recordings.posed_images import PosedImage, PosedImages
from fgsn_ros.recordings.recording import Frame
from fgsn_ros.segmentation.labels import LabelMap
from fgsn_ros.segmentation.segmenter import Segmenter

TRANSFORM_FILE = "model_to_map.json"
_IMAGES_AHEAD, _LABELS_AHEAD = 4, 2
_FRAMES_TOGETHER = 32
_NEXT_SHARE = 0.8
"""Of the points that the most alike image shares; the next by name follows if it shares as many."""
_RANGE_SLACK = 2.0
"""Ranges of local features may leave those of the model's points by this factor."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ModelInMap:
    """A model's images and points in the frame of the map to be."""

    images: PosedImages
    """numbered by their stamps, so that those that show the same follow each other"""
    points: StructurePoints
    frame: MapFrame
    is_metric: bool

    @property
    def pose_count(self) -> int:
        """Images."""
        return len(self.images.images)


def open_colmap(
    model_folder: Path, images_folder: Path, similarity: Path | None, gps: Path | None
) -> ModelInMap:
    """Read a COLMAP model, find its images, and place both in the map.

    base_link sits at the camera, of a rig at the first of its cameras, with x forward, y left and
    z up as the camera's axes say; or where T_base_camera of a camera.yaml beside the images has it.

    Args:
        model_folder: Of cameras, images and points3D, .bin or .txt.
        images_folder: That the images' names are relative to.
        similarity: File with the motion and scale from the model to the map.
        gps: File with the positions of images (see `frame_by_gps`).

    Raises:
        RecordingError: one of them cannot be used, or they do not belong together.
    """
    model = _in_order(_with_files(read_colmap_model(model_folder), images_folder))
    mounting = None
    if (images_folder / CAMERA_FILE).is_file():
        _, mounting = read_camera(images_folder / CAMERA_FILE)
    T_base_first = T_BASE_OPTICAL if mounting is None else mounting
    frame = _frame(model, T_base_first, similarity, gps)
    T_map_camera = frame.similarity.poses(model.T_world_camera)
    images = tuple(
        PosedImage(float(i), str(model.camera[i]), images_folder / name, T_map_camera[i])
        for i, name in enumerate(model.names)
    )
    mounts = _mounts(model, T_base_first, frame.similarity.scale)
    T_camera_base = poses.invert(_each(model, mounts))
    stamps = np.arange(len(images), dtype=np.float64)
    truth = Trajectory(stamps, poses.compose(T_map_camera, T_camera_base))
    cameras = {str(number): mount for number, mount in mounts.items()}
    points = _structure(model, frame.similarity.points(model.points), T_map_camera[:, :3, 3])
    recording = PosedImages(images_folder, images, cameras, truth)
    return ModelInMap(recording, points, frame, similarity is not None or gps is not None)


def _frame(
    model: ColmapModel, T_base_first: FloatArray, similarity: Path | None, gps: Path | None
) -> MapFrame:
    T_base_camera = _each(model, _mounts(model, T_base_first, 1.0))
    up = (model.T_world_camera[:, :3, :3] @ T_base_camera[:, 2, :3, None])[:, :, 0]
    views = PosedViews(model.names, model.T_world_camera[:, :3, 3], up)
    if similarity is not None:
        return frame_by_similarity(views, similarity)
    return frame_of_itself(views) if gps is None else frame_by_gps(views, gps)


def _mounts(model: ColmapModel, T_base_first: FloatArray, metres: float) -> dict[int, CameraMount]:
    """Each camera on its robot, of a rig by the rig's poses; `metres` are a unit of the model."""
    mounts = {}
    for number, camera in model.cameras.items():
        T_first_camera = model.T_rig_camera.get(number, np.eye(4)).copy()
        T_first_camera[:3, 3] *= metres
        T_base_camera = poses.compose(T_base_first, T_first_camera)
        mounts[number] = CameraMount(camera, T_base_camera, str(number))
    return mounts


def _each(model: ColmapModel, mounts: dict[int, CameraMount]) -> FloatArray:
    """T_base_camera (N, 4, 4) of each image."""
    return np.stack([mounts[number].T_base_camera for number in model.camera.tolist()])


def _with_files(model: ColmapModel, images_folder: Path) -> ColmapModel:
    """The model of those images that are there."""
    there = np.array([_is_file(images_folder / name) for name in model.names])
    if not there.any():
        raise RecordingError(
            f"{images_folder} holds none of the images of {model.path}, such as {model.names[0]}; "
            "name the folder that their names are relative to"
        )
    with LeftOut(f"{images_folder}, images of {model.path}", "images", len(there)) as left_out:
        for i in np.flatnonzero(~there):
            left_out.drop("not there", model.names[i])
        left_out.keep(int(there.sum()))
    return model if there.all() else model.with_images(np.flatnonzero(there))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # such as of a name that is too long
        return False


def _in_order(model: ColmapModel) -> ColmapModel:
    """The model with its images by name, but for those that show little of what the last shows.

    Photos need not be named along a way; the next is then the one that shares the most points.
    """
    names = model.names
    by_name = sorted(range(len(names)), key=lambda i: natural(Path(names[i])))
    model = model.with_images(np.array(by_name))
    seen, shape = model.sightings, (len(names), len(model.points))
    shows = csr_matrix((np.ones(len(seen.image)), (seen.image, seen.point)), shape)
    return model.with_images(_chain((shows @ shows.T).tocsr()))


def _chain(shares: csr_matrix) -> IndexArray:
    """Order (N,) by the numbers of points that images share (N, N)."""
    left, chain, current = np.ones(shares.shape[0], bool), [0], 0
    left[0] = False
    while left.any():
        common = shares[[current]].toarray()[0] * left
        is_left = current + 1 < len(left) and left[current + 1]
        following, best = current + 1 if is_left else int(left.argmax()), int(common.argmax())
        current = following if common[following] >= _NEXT_SHARE * common[best] else best
        left[current] = False
        chain.append(current)
    return np.array(chain)


def _structure(model: ColmapModel, points: FloatArray, centres: FloatArray) -> StructurePoints:
    """The points that images show, as those of a drive's tracks.

    Args:
        model: Whose sightings count.
        points: (P, 3) in the map [m].
        centres: (N, 3) of the images' cameras in the map [m].
    """
    seen, errors = model.sightings, reprojection_errors(model)
    sight = points[seen.point] - centres[seen.image]
    ranges = np.linalg.norm(sight, axis=1)
    units = sight / np.maximum(ranges, 1e-12)[:, None]
    mean = np.stack([np.bincount(seen.point, axis, len(points)) for axis in units.T], axis=1)
    lengths = np.linalg.norm(mean, axis=1)
    kept = lengths > 1e-6
    kept[seen.point[~(ranges > 0.0)]] = False
    if not kept.any():
        raise RecordingError(f"{model.path}: the images that are there show none of its points")
    chosen = np.flatnonzero(kept[seen.point])
    order = chosen[np.lexsort((seen.image[chosen], seen.point[chosen]))]
    point = (np.cumsum(kept) - 1)[seen.point[order]]
    starts = np.flatnonzero(np.diff(point, prepend=-1))
    by_error = chosen[np.lexsort((errors[chosen], seen.point[chosen]))]
    middle = starts + np.diff(np.append(starts, len(point))) // 2
    return StructurePoints(
        points[kept],
        mean[kept] / lengths[kept, None],
        np.minimum.reduceat(ranges[order], starts),
        np.maximum.reduceat(ranges[order], starts),
        errors[by_error][middle],
        Tracks(point, seen.image[order], seen.pixels[order].astype(np.float32)),
    )


def write_colmap_map(
    folder: Path,
    model: ModelInMap,
    segmenter: Segmenter,
    settings: MapSettings | None = None,
    overwrite: bool = False,
) -> SemanticMap:
    """Write the map of a model: each image that shows a point votes with the label it has there.

    All images are labelled; local features are matched from each to the next. TRANSFORM_FILE in the
    map's folder says how the map's frame lies to the model's.

    Raises:
        RecordingError: too many images cannot be read.
        MapError: no point passed the label tests.
        OutputError: the folder exists (without overwrite) or cannot be written.
    """
    with whole_folder(folder, MAP_FOLDER, overwrite) as temporary:
        _write(temporary, model, segmenter, settings or MapSettings())
        frame = model.frame
        origin = {} if frame.origin is None else {"origin_lat_lon_alt": frame.origin}
        text = similarity_text(frame.similarity, **origin)
        (temporary / TRANSFORM_FILE).write_text(text, encoding="utf-8")
    return load_map(folder)


def _write(folder: Path, model: ModelInMap, segmenter: Segmenter, settings: MapSettings) -> None:
    scratch = folder / "building"
    scratch.mkdir()
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, scratch)
        blocks = Blocks(scratch, settings.tile_size_m, segmenter.label_count)
        stack.callback(blocks.close)
        feature_settings = settings if model.is_metric else _by_ranges(settings, model.points)
        features = feature_builder(
            scratch, model.images.cameras, segmenter, feature_settings, across_cameras=True
        )
        if features is not None:
            stack.callback(features.close)
        votes = _votes(model, segmenter, features, KeyFrames(blocks, settings.keyframe_gate()))
        _put_aside(blocks, model.points, votes)
        write_blocks(folder, blocks, segmenter.checkpoint, settings, features)
        if features is not None:
            count = features.write(folder, segmenter.checkpoint, settings.min_stationary)
            if count == 0:
                _log.warning("the map has no local features: no image can be located on it")


def _by_ranges(settings: MapSettings, points: StructurePoints) -> MapSettings:
    """Settings whose triangulation knows no metres: ranges are as those of the model's points."""
    structure = settings.structure
    triangulation = dataclasses.replace(
        structure.triangulation,
        min_range_m=float(points.min_range.min()) / _RANGE_SLACK,
        max_range_m=float(points.max_range.max()) * _RANGE_SLACK,
    )
    structure = dataclasses.replace(structure, triangulation=triangulation)
    return dataclasses.replace(settings, structure=structure)


_Labelled = tuple[Frame, ImageFeatures | None, LabelMap]


def _votes(
    model: ModelInMap, segmenter: Segmenter, features: FeatureBuilder | None, keyframes: KeyFrames
) -> LabelVotes:
    """The votes for the points; local features and key frames are put aside on the way."""
    votes, tracks = LabelVotes(segmenter.label_count), model.points.observations
    order = np.argsort(tracks.frame, kind="stable")
    bounds = np.searchsorted(tracks.frame[order], np.arange(model.pose_count + 1))
    T_map_base = model.images.ground_truth.poses
    for count, (frame, described, label_map) in enumerate(_labelled(model, segmenter, features), 1):
        number = int(frame.stamp)
        own = order[bounds[number] : bounds[number + 1]]
        pixels = tracks.pixels[own].astype(np.float64)
        size = np.array(frame.image.shape[1::-1])
        inside = ((pixels >= -0.5) & (pixels < size - 0.5)).all(axis=1)  # undistorted ones may not
        vote(votes, tracks.track[own][inside], pixels[inside], np.ones(inside.sum()), label_map)
        keyframes.add(T_map_base[number], label_map)
        if features is not None and described is not None:
            features.add(PosedFrame(frame, T_map_base[number]), described, label_map)
            if count % _FRAMES_TOGETHER == 0:
                features.put_aside()
    keyframes.close()
    if features is not None:
        features.put_aside(all_of_them=True)
    return votes


def _labelled(
    model: ModelInMap, segmenter: Segmenter, features: FeatureBuilder | None
) -> Iterator[_Labelled]:
    """Images with local features, if there shall be any, and labels; each step in a thread."""
    frames = tqdm(model.images.frames(), total=model.pose_count, desc="labelling", unit="image")

    def described() -> Iterator[tuple[Frame, ImageFeatures | None]]:
        for frame in read_ahead(iter(frames), _IMAGES_AHEAD):
            yield frame, None if features is None else features.extract(frame.image)

    def labelled() -> Iterator[_Labelled]:
        for frame, found in read_ahead(described(), _LABELS_AHEAD):
            yield frame, found, segmenter.segment(frame.image)

    return read_ahead(labelled(), _LABELS_AHEAD)


def _put_aside(blocks: Blocks, points: StructurePoints, votes: LabelVotes) -> None:
    """Points and the votes for them, by block."""
    block, rank = blocks.add(points)
    keys, weights = votes.sums()
    point, label = np.divmod(keys, blocks.label_count)
    for key, own in grouped(block[point]):
        blocks.add_votes(key, rank[point[own]] * blocks.label_count + label[own], weights[own])
