from collections.abc import Callable
from typing import Any

import pytest

from fgsn_ros.messages.types import TYPESTORE


@pytest.fixture
def sent() -> Callable[[Any], Any]:
    """Sends a message through bytes."""

    def through_bytes(message: Any) -> Any:
        data = TYPESTORE.serialize_cdr(message, message.__msgtype__)
        return TYPESTORE.deserialize_cdr(data, message.__msgtype__)

    return through_bytes
