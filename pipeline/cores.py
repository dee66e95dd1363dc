"""How the threads of the encoder share the machine with others."""

from __future__ import annotations

import os


def share_cores() -> None:
    """Let threads of PyTorch that wait sleep, unless the environment says otherwise.

    By default they spin (OpenMP's `OMP_WAIT_POLICY`), which on few or shared cores keeps those from
    running that they wait for. For programs only, before PyTorch is imported: in a notebook the
    environment is the user's.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
