"""ROS messages, read and built once for bags and nodes; no rclpy."""
