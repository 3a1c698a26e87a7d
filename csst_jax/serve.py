"""A page in your browser to try networks on your photos: `python -m csst_jax.serve --checkpoint=runs/mine`.

The checkpoint is a workdir (it stands for its student), the directory of a finished stage, or a file of weights. Two of
them, with a comma between, are compared: `--checkpoint=runs/mine/teacher,runs/mine/student`. Drop a photo on the page;
it shows the classes, their shares, and where two networks differ.

The page is for this machine alone: nobody else in the network can open it, unless --host says so. Photos are not kept.
On another machine, bring the port here: `ssh -L 8008:localhost:8008 MACHINE`, then open http://localhost:8008.
"""

from __future__ import annotations

import argparse
import errno
import ipaddress
import math
import socket
import sys
from typing import TYPE_CHECKING

from csst_jax.arguments import Parser
from csst_jax.models.weights import locate
from csst_jax.runtime.host_memory import collect_seldom, keep_freed_memory
from csst_jax.runtime.signals import stopped_at_once, tell_interruption
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line.

    Returns:
      The exit status: 2 if nothing can be served.
    """
    flags = _parser().parse_args(arguments)
    try:
        return _serve(flags)
    except CsstError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _serve(flags: argparse.Namespace) -> int:
    checkpoints = [path.strip() for text in flags.checkpoint for path in text.split(",") if path.strip()]
    if not 1 <= len(checkpoints) <= _MOST:
        raise CsstError(f"--checkpoint: {len(checkpoints)} networks; give one, or two to compare.")
    for name in ("max_upload_mb", "max_megapixels"):
        if not 0 < getattr(flags, name) < math.inf:  # NaN is neither
            raise CsstError(f"--{name}={getattr(flags, name)} must be a number above 0.")
    if flags.window_px < 0:
        raise CsstError(f"--window_px={flags.window_px}: give a side in pixels, or 0 for whole photos.")
    if not 0 <= flags.port < 65536:
        raise CsstError(f"--port={flags.port} must lie between 0 and 65535.")
    for path in checkpoints:
        locate.locate(path, "--checkpoint")
    from csst_jax.runtime import startup  # JAX takes a second to import: not before the flags are right

    startup.quiet_libraries()
    startup.keep_programs(flags.compilation_cache_dir)
    from csst_jax.prediction.loaded import Loaded
    from csst_jax.serving.answers import Limits, Networks
    from csst_jax.serving.server import Server

    limits = Limits(int(flags.max_upload_mb * 1e6), int(flags.max_megapixels * 1e6))
    networks = Networks([(path, Loaded(path)) for path in checkpoints], limits, flags.window_px)
    try:
        server = Server(flags.host, flags.port, networks)
    except OSError as error:
        wrong_host = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
        fix = "Give a name or address of this machine" if wrong_host else "Give another --port, or 0 for a free one"
        raise CsstError(f"--host={flags.host} --port={flags.port}: {error.strerror}. {fix}.") from error
    if not _is_loopback(flags.host):
        print(
            f"warning: --host={flags.host}: everyone who reaches this machine can use the page; there is no password.",
            file=sys.stderr,
        )
    shown = f"[{flags.host}]" if ":" in flags.host else flags.host
    print(f"open http://{shown}:{server.server_address[1]} in a browser; Ctrl-C ends it", flush=True)
    with server, startup.lines_of_progress():
        server.serve_forever()
    return 0


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _parser() -> Parser:
    parser = Parser("csst_jax.serve", __doc__)
    parser.add_argument(
        "--checkpoint",
        required=True,
        action="append",
        help="a workdir, a finished stage or a file of weights; two, with a comma, to compare them",
    )
    parser.add_argument("--port", type=int, default=8008, help="0 takes any free port (default 8008)")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (default 127.0.0.1: this machine alone)")
    parser.add_argument("--max_upload_mb", type=float, default=30, help="largest file, in MB (default 30)")
    parser.add_argument("--max_megapixels", type=float, default=50, help="largest picture (default 50)")
    parser.add_argument(
        "--window_px",
        type=int,
        default=0,
        help="side of overlapping windows, for photos that do not fit the memory; 0 = whole photos (default)",
    )
    parser.add_argument(
        "--compilation_cache_dir", default="~/.cache/csst_jax", help="where compiled programs are kept; empty = nowhere"
    )
    return parser


if __name__ == "__main__":
    tell_interruption()
    # Names of files may hold bytes that are not UTF-8; they are printed as numbers.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    keep_freed_memory()
    collect_seldom()
    with stopped_at_once("nothing is lost."):
        sys.exit(main())
