"""The bond that Nav2's lifecycle manager asks of the nodes it has activated: a sign of life.

The manager waits for messages with its name for the node, and takes all nodes down when none has
come for its `bond_timeout`. They are sent by a timer of the node itself, so that a node that is
stuck falls silent. The manager's own messages are not listened to: a node goes on without it, as
Nav2's do, and would otherwise hear those of every other node as well.
"""

import uuid

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

try:
    from bond.msg import Status
except ImportError:  # only where Nav2, or something else that makes bonds, is installed
    Status = None

PERIOD_S = 0.2
TIMEOUT_S = 4.0
_QOS = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)


class Bond:
    """Tells managers that the node is alive, from `start` to `stop`.

    A manager may stand in the node's namespace or in one above it, and name the node from there or
    in full.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._timer = None
        self._instance = ""
        self._publishers = []
        if Status is not None:
            for topic, names in topics_of(node.get_namespace(), node.get_name()).items():
                self._publishers.append((node.create_publisher(Status, topic, _QOS), names))

    def start(self) -> None:
        """Be alive."""
        if Status is None:
            self._node.get_logger().info("no bond: the ROS package 'bond' is not installed")
            return
        self._instance = str(uuid.uuid4())
        # a simulated clock may stand still
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self._node.create_timer(PERIOD_S, self._tell, clock=steady)
        self._tell()

    def stop(self) -> None:
        """Break it, so that the manager need not wait for the silence."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None
            self._tell(alive=False)

    def _tell(self, alive: bool = True) -> None:
        for publisher, names in self._publishers:
            if not publisher.get_subscription_count():
                continue
            for name in names:
                status = Status(
                    id=name,
                    instance_id=self._instance,
                    active=alive,
                    heartbeat_timeout=TIMEOUT_S,
                    heartbeat_period=PERIOD_S,
                )
                status.header.stamp = self._node.get_clock().now().to_msg()
                publisher.publish(status)


def topics_of(namespace: str, name: str) -> dict[str, tuple[str, str]]:
    """Topic of each manager that there may be, to the names that it may have for a node."""
    parts = [part for part in namespace.split("/") if part] + [name]
    full = "/" + "/".join(parts)
    return {
        "/" + "/".join([*parts[:count], "bond"]): ("/".join(parts[count:]), full)
        for count in range(len(parts))
    }
