"""The main program of an engine's process; see `onwards_py.engines.protocol`."""

from __future__ import annotations

import asyncio
import os
import time
from typing import NoReturn

import msgspec

from onwards_py.engines import resource_limits
from onwards_py.engines.base import Engine, LoadError
from onwards_py.engines.model_finder import install_hint, missing_requirements
from onwards_py.engines.pipes import LaunchReader, ReportWriter
from onwards_py.engines.protocol import LaunchSpec, LoadFailed, Ping, Ready
from onwards_py.engines.registry import make_engine
from onwards_py.engines.service import Service


def run() -> NoReturn:
    """Load the specified model and serve it. Never returns: the process ends with its standard input or by a signal."""
    resource_limits.set_signal_handlers()
    resource_limits.die_with_parent()
    to_proxy, log = resource_limits.take_output_descriptors()
    reports = ReportWriter(to_proxy)
    loop = asyncio.new_event_loop()
    responder = _PingResponder(loop, reports)
    try:
        spec = LaunchReader(0, responder.ping).launch_spec()
        resource_limits.apply(spec)
        began = time.monotonic()
        engine = _loaded(spec)
        resource_limits.set_signal_handlers()
        resource_limits.silence_output()
        responder.service = service = Service(engine, spec.slots, reports, log)
        _runner = loop.run_until_complete(service.listen(spec.socket))
    except LoadError as error:
        if error.__cause__ is not None:
            os.write(log, f"{type(error.__cause__).__name__}: {error.__cause__}\n".encode())
        _fail(reports, str(error))
    except msgspec.DecodeError:
        _fail(reports, "The order to the engine is of another version than the engine.")
    except OSError as error:
        _fail(reports, f"The engine cannot listen: {error.strerror}.")
    reports.send(Ready(time.monotonic() - began, engine.file, engine.bytes))
    loop.run_forever()
    os._exit(0)


def _loaded(spec: LaunchSpec) -> Engine:
    if (everything := missing_requirements(spec.model, spec.engine)) is not None:
        raise LoadError(everything)  # the error lists all missing requirements, not only the first one
    try:
        engine = make_engine(spec)
        engine.load()
    except ImportError as error:
        name = (error.name or "a library").partition(".")[0]
        raise LoadError(f"{name} is not installed: {install_hint(spec.engine)}.") from None
    except MemoryError:
        raise LoadError("The model does not fit into the memory that it may use: raise its bound.") from None
    except LoadError:
        raise
    except Exception as error:
        raise LoadError(f"The model cannot be loaded: {type(error).__name__}.") from error
    return engine


def _fail(reports: ReportWriter, message: str) -> NoReturn:
    reports.send(LoadFailed(message))
    # Without interpreter shutdown, in which libraries that failed to load may hang.
    os._exit(1)


class _PingResponder:
    """Answers pings in the event loop, so that a blocked loop is detected. Pings during loading are not answered."""

    def __init__(self, loop: asyncio.AbstractEventLoop, reports: ReportWriter) -> None:
        self._loop = loop
        self._reports = reports
        self.service: Service | None = None

    def ping(self, ping: Ping) -> None:
        """Called in the reading thread."""
        self._loop.call_soon_threadsafe(self._pong, ping.number)

    def _pong(self, number: int) -> None:
        if self.service is not None:
            self._reports.send(self.service.pong(number))
