"""What Lamina keeps on disk between runs: data sets that it fetched, and compiled programs."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """Return the user's cache folder for Lamina."""
    if sys.platform == "win32":
        home = os.environ.get("LOCALAPPDATA", Path.home() / "AppData/Local")
    else:
        home = os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")
    return Path(home) / "lamina"


def use_compilation_cache(folder: str | Path | None = None) -> Path:
    """Keep XLA's compiled programs in ``folder`` from now on, in this process and the next ones.

    The command line calls it. In Python call it before the first `fit`: a process that trains a
    small model spends most of its time compiling.

    Parameters
    ----------
    folder : path, optional
        Where to keep them; the user's cache folder if None. ``JAX_COMPILATION_CACHE_DIR`` in the
        environment comes before both.

    Returns
    -------
    Path
        The folder in use.
    """
    import jax

    chosen = os.environ.get("JAX_COMPILATION_CACHE_DIR") or folder or cache_folder() / "programs"
    jax.config.update("jax_compilation_cache_dir", str(chosen))
    # JAX by default keeps only programs that took over a second: none of ours.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return Path(chosen)
