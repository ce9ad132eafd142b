"""What both nodes are: managed ones that answer while they get ready."""

import threading
from collections.abc import Callable
from typing import Any

from lifecycle_msgs.msg import Transition
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.task import Future

from fgsn_ros.errors import FgsnError, SettingsError
from fgsn_ros.nodes import parameters
from fgsn_ros.nodes.bond import Bond

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class ManagedNode(LifecycleNode):
    """A lifecycle node that gets ready in a thread and keeps a bond while it is active.

    What takes seconds, reading files and compiling kernels, is done by `prepare` beside the
    executor: services and diagnostics answer meanwhile, and who asked for the node to be configured
    is answered when that is done.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.phase = "unconfigured"
        """What it is at, for diagnostics: unconfigured, getting ready, inactive or active."""
        self._preparation: Future | None = None
        self._failure: Exception | None = None
        self._goes_up = False
        self._bond = Bond(self)
        # also wakes the executor, for a request that waits
        self._is_prepared = self.create_guard_condition(self._go_on)
        service = self._service_change_state
        self._change_state: Callable[[Any, Any], Any] = service.callback
        service.callback = self._serve_change
        # A group of its own: others would have to wait with it.
        service.callback_group = MutuallyExclusiveCallbackGroup()
        service.callback_group.add_entity(service)

    # What a node is made of

    def prepare(self) -> Any:
        """Read and compute what takes long, in a thread; what `configure` is given.

        Raises:
            FgsnError: a file or a setting is unusable.
        """
        raise NotImplementedError

    def configure(self, prepared: Any) -> None:
        """Take over what was prepared."""
        raise NotImplementedError

    def activate(self) -> None:
        """Begin to work."""
        raise NotImplementedError

    def deactivate(self) -> None:
        """Stop."""
        raise NotImplementedError

    def clean_up(self) -> None:
        """Let go of everything; it may be active."""
        raise NotImplementedError

    # Life

    def start(self, autostart: bool) -> None:
        """Go up to active as soon as it is ready, or wait for a manager.

        A FgsnError that is in the way then comes out of the executor.
        """
        for name in parameters.unknown_overrides(self):
            self.get_logger().warning(f"unknown parameter '{name}' has no effect")
        self._goes_up = autostart
        if autostart:
            self._begin()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Take over what was prepared."""
        preparation, self._preparation = self._preparation, None
        self.phase = "unconfigured"
        try:
            self.configure(preparation.result() if preparation else self.prepare())
        except Exception as error:  # which rclpy would keep to itself
            return self._failed(error)
        self.phase = "inactive"
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to work."""
        try:
            self.activate()
        except Exception as error:
            return self._failed(error)
        self.phase = "active"
        self._bond.start()
        self.get_logger().info("active")
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop; what is known is kept."""
        self.phase = "inactive"
        self._bond.stop()
        self.deactivate()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forget everything."""
        self._clean_up()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and forget everything."""
        self._clean_up()
        return super().on_shutdown(state)

    def _clean_up(self) -> None:
        self.phase = "unconfigured"
        self._bond.stop()
        self.clean_up()

    def _failed(self, error: Exception) -> TransitionCallbackReturn:
        self._failure = error
        if not self._goes_up:  # which ends with it
            kind = "" if isinstance(error, FgsnError) else f"{type(error).__name__}: "
            self.get_logger().error(kind + " ".join(str(error).split()))
        return FAILURE

    # Getting ready

    def _begin(self) -> Future:
        """Prepare, unless that is under way."""
        if self._preparation is None:
            self.phase = "getting ready"
            self._preparation = Future()
            work = threading.Thread(
                target=self._prepare_into,
                args=(self._preparation,),
                name="preparation",
                daemon=True,
            )
            work.start()
        return self._preparation

    def _prepare_into(self, preparation: Future) -> None:
        try:
            preparation.set_result(self.prepare())
        except Exception as error:  # for who waits
            preparation.set_exception(error)
        if self.context.ok():
            self._is_prepared.trigger()

    def _go_on(self) -> None:
        if not self._goes_up or self._preparation is None:
            return
        for trigger in (self.trigger_configure, self.trigger_activate):
            if trigger() != SUCCESS:
                raise self._failure or SettingsError("the node could not be activated")
        self._goes_up = False

    async def _serve_change(self, request: Any, response: Any) -> Any:
        """Change the state, as asked; what cannot be is refused, not raised."""
        asked = request.transition
        if asked.label == "configure" or asked.id == Transition.TRANSITION_CONFIGURE:
            if self.phase == "unconfigured":
                self._begin()
            while self._preparation is not None and not self._preparation.done():
                await _Turn()
        try:
            return self._change_state(request, response)
        except RuntimeError as error:  # rcl's
            reason = str(error).split(", at ")[0]
            self.get_logger().warning(f"no transition '{asked.label or asked.id}': {reason}")
            response.success = False
            return response


class _Turn:
    """Awaited, it lets the executor do what else is due, or wait until something is."""

    def __await__(self) -> Any:
        yield
