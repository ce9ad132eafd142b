"""Write a drive as a rosbag2 (MCAP or sqlite3), without ROS."""
