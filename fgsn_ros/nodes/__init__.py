"""ROS 2 nodes: they declare parameters, convert messages, call the rest and publish."""
