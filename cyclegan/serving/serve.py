"""Run the server until SIGTERM or Ctrl-C, then let it finish the requests it has."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Sequence
from importlib.util import find_spec
from types import FrameType

from cyclegan.errors import UsageError
from cyclegan.serving.config import ServeConfig

logger = logging.getLogger(__name__)


def serve(models: Sequence[str], config: ServeConfig) -> None:
    """Load the models, then answer requests until a signal; those that were accepted by then are finished.

    Raises UsageError where the extra `serve` is missing, a model cannot be loaded or the port is taken.
    """
    if not all(find_spec(name) for name in ("fastapi", "fastapi_offline", "uvicorn")):
        raise UsageError("The server needs more packages: pip install 'cyclegan-pipeline[serve]'.")
    with _listening(config) as listener:
        import uvicorn

        from cyclegan.serving.app import create_app
        from cyclegan.serving.served import load_all

        served = load_all(models, config)
        settings = uvicorn.Config(
            create_app(served, config),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=config.grace_seconds,
        )
        for name, model in served.items():
            logger.info("%s: %s.", name, model.translator.engine.name)
        server = uvicorn.Server(settings)

        def stop(number: int, frame: FrameType | None) -> None:
            if not server.should_exit:
                logger.info("Finishing the requests that are open; a second Ctrl-C gives them up.")
            uvicorn.Server.handle_exit(server, number, frame)

        # Signals are the server's from here on, not only once it runs: one in between would be lost. When it
        # has shut down it raises them again, which then changes nothing.
        server.handle_exit = stop  # type: ignore[method-assign, assignment]
        former = {sign: signal.signal(sign, stop) for sign in (signal.SIGTERM, signal.SIGINT)}
        try:
            listener.listen(2048)
            host, port = listener.getsockname()[:2]
            print(f"Serving at http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
            server.run(sockets=[listener])
        finally:
            for sign, handler in former.items():
                signal.signal(sign, handler)


def _listening(config: ServeConfig) -> socket.socket:
    """The bound socket, before any model is loaded for nothing; nobody can connect yet."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        opened = socket.socket(family, kind, protocol)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
    except OSError as error:
        raise UsageError(
            f"Cannot listen on {config.host}, port {config.port}: {error.strerror or error}."
        ) from None
    return opened
