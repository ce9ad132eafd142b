"""Recorded drives behind one interface: rosbags, KITTI folders, image folders; and writers."""
