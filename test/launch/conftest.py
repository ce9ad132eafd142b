"""What the tests that need ROS 2 share: processes under launch, and a node to talk to them.

Without ROS 2 nothing here is collected.
"""

import asyncio
import importlib.util
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

if importlib.util.find_spec("rclpy") is None:
    collect_ignore_glob = ["test_*.py"]

# Nobody else's nodes are heard: another domain for each test process, on this machine alone.
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
if os.environ.get("ROS_DISTRO") == "humble":
    os.environ["ROS_LOCALHOST_ONLY"] = "1"

PATIENCE_S = 300.0
"""How long a test waits for what must happen; machines are slow."""


class Ros:
    """Processes started by launch and a node beside them, both run by whoever waits.

    launch's service takes the main thread, where pytest's tests are: so it advances while a test
    waits, and no thread is needed.
    """

    def __init__(self) -> None:
        import rclpy
        from launch import LaunchDescription, LaunchService
        from launch.actions import RegisterEventHandler
        from launch.event_handlers import OnProcessExit, OnProcessIO, OnProcessStart
        from launch_testing.io_handler import ActiveIoHandler
        from launch_testing.proc_info_handler import ActiveProcInfoHandler

        rclpy.init()
        self.node = rclpy.create_node("test")
        self.executor = rclpy.executors.SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.processes, self.output = ActiveProcInfoHandler(), ActiveIoHandler()
        handlers = [
            OnProcessStart(on_start=lambda event, _: self.processes.append(event)),
            OnProcessStart(on_start=lambda event, _: self.output.track(event.process_name)),
            OnProcessExit(on_exit=lambda event, _: self.processes.append(event)),
            OnProcessIO(on_stdout=self.output.append, on_stderr=self.output.append),
        ]
        self._loop = asyncio.new_event_loop()
        self._service = LaunchService(noninteractive=True)
        self._service.include_launch_description(
            LaunchDescription([RegisterEventHandler(handler) for handler in handlers])
        )
        self._task = self._loop.create_task(self._service.run_async(shutdown_when_idle=False))
        self._loop.run_until_complete(asyncio.sleep(0.0))  # one that never ran cannot be ended

    def start(self, *actions: Any) -> None:
        """Start actions: nodes, or whole launch descriptions."""
        from launch import LaunchDescription
        from launch.events import IncludeLaunchDescription

        self._emit(IncludeLaunchDescription(LaunchDescription(actions)))

    def turn(self) -> None:
        """Let launch and the node do what is due."""
        self._loop.run_until_complete(asyncio.sleep(0.0))
        if self._task.done():
            pytest.exit("launch was interrupted", 130)
        self.executor.spin_once(timeout_sec=0.01)

    def until(
        self, condition: Callable[[], Any], what: str, repeat: Callable[[], None] = int
    ) -> Any:
        """Wait for a condition, calling `repeat` every 0.2 s; its value."""
        end, next_time = time.monotonic() + PATIENCE_S, 0.0
        while not (value := condition()):
            assert time.monotonic() < end, f"waited in vain for {what}\n{self._said()}"
            if time.monotonic() >= next_time:
                repeat()
                next_time = time.monotonic() + 0.2
            self.turn()
        return value

    def exit_code(self, process: Any) -> int:
        """Wait for a process to end; its exit code."""
        from launch.events.process import ProcessExited

        def ended() -> bool:
            known = process in self.processes.processes()
            return known and isinstance(self.processes[process], ProcessExited)

        self.until(ended, "a process to end")
        return int(self.processes[process].returncode)

    def stderr(self, process: Any) -> str:
        """What a process has written to stderr."""
        return "".join(e.text.decode() for e in self._events(process) if e.from_stderr)

    def said(self, process: Any, text: str) -> bool:
        """Whether a process has written a text."""
        return any(text in event.text.decode() for event in self._events(process))

    def _events(self, process: Any) -> Any:
        known = isinstance(process, str) or process in self.processes.processes()
        return self.output[process] if known else []

    def _said(self) -> str:
        """The end of what each process has written to stderr."""
        names = self.processes.process_names()
        return "\n".join(f"{name}: {self.stderr(name)[-1000:]}" for name in names)

    def interrupt(self, process: Any) -> None:
        """Send SIGINT."""
        self.signal(process, signal.SIGINT)

    def signal(self, process: Any, number: signal.Signals) -> None:
        """Send a signal."""
        from launch.events import matches_action
        from launch.events.process import SignalProcess

        self._emit(SignalProcess(signal_number=number, process_matcher=matches_action(process)))

    def close(self) -> None:
        """End every process and the node."""
        import rclpy

        self._service.shutdown(force_sync=True)
        self._loop.run_until_complete(self._task)
        self._loop.close()
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown()

    def _emit(self, event: Any) -> None:
        # the service's own `emit_event` waits for the loop, which turns in this very thread
        self._service.context.emit_event_sync(event)


@pytest.fixture(scope="session", autouse=True)
def _ros_log(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["ROS_LOG_DIR"] = str(tmp_path_factory.mktemp("log"))


@pytest.fixture(scope="module")
def ros(_ros_log: None) -> Iterator[Ros]:
    made = Ros()
    yield made
    made.close()


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Map and checkpoint of a street."""
    from world import World

    return World.written(tmp_path_factory.mktemp("street"))
