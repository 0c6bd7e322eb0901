"""Where every array lives when several devices share one fit.

The devices form a mesh with two axes. Along ``data`` each takes its rows of a minibatch; along
``model`` each holds its part of the large matrices. JAX's own context (`jax.set_mesh`) says which
mesh a program is for; XLA's partitioner splits the program and puts in the sums and gathers that it
then needs. So every function here is the identity, or plain `jax.device_put`, outside `over`.

============================================  ====================================================
the data of a fit that are in memory          on every device
a minibatch, its scores and gradients by row  rows split along ``data``
a matrix of `SPLIT_NUMBERS` and more          its longest side split along ``model``
all other weights, statistics, numbers        on every device
a factorisation's tables                      rows split over all devices
============================================  ====================================================

What the optimiser keeps of a matrix has the matrix's shape, and so lives where the matrix does.
Every process holds all of the weights, since the axis ``model`` lies within one process: reading
them, as for a checkpoint, takes no word from another process.

Source: Xu et al. 2021, GSPMD: general and scalable parallelization for ML computation graphs.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, PartitionSpec

from lamina.errors import InputError

ALL = "all"
DATA, MODEL = "data", "model"
SPLIT_NUMBERS = 1 << 16
"""Numbers in a matrix (256 KiB) from which on it is worth splitting."""

Devices = str | int | tuple[int, int] | None
"""What an estimator's ``devices`` may be; see `mesh_of`."""


def over(devices: Devices) -> AbstractContextManager:
    """Return a context in which programs run over these devices, one of `mesh_of`'s meshes."""
    mesh = mesh_of(devices)
    return nullcontext() if mesh is None else jax.set_mesh(mesh)


def mesh_of(devices: Devices) -> Mesh | None:
    """Return the mesh of these devices; None for a single one.

    Parameters
    ----------
    devices : "all", int, (int, int) or None
        All devices of all processes; so many; so many along ``data`` and along ``model``; or one.

    Raises
    ------
    InputError
        For anything else, and for more devices than there are.
    """
    if devices is None:
        return None
    present = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    shape = (len(present), 1) if devices == ALL else devices
    shape = (shape, 1) if _is_count(shape) else shape
    pair = isinstance(shape, tuple | list) and len(shape) == 2 and all(map(_is_count, shape))
    if not pair:
        raise _unusable(devices, len(present))
    rows, columns = map(int, shape)  # type: ignore[arg-type]
    if rows * columns > len(present):
        raise _unusable(devices, len(present))
    if jax.process_count() > 1 and (
        rows * columns < len(present) or jax.local_device_count() % columns
    ):
        raise InputError(
            f"devices expected all {len(present)} devices of the {jax.process_count()} processes, "
            f"and a model axis that divides the {jax.local_device_count()} of each, got "
            f'{devices!r}. Use "all".'
        )
    if rows * columns == 1:
        return None
    grid = np.array(present[: rows * columns]).reshape(rows, columns)
    return Mesh(grid, (DATA, MODEL), axis_types=(AxisType.Auto,) * 2)


def _is_count(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= 1


def _unusable(devices: Any, count: int) -> InputError:
    kind, many = jax.default_backend().upper(), count > 1
    return InputError(
        f'devices expected "all", a number, or a pair (data, model), of at most {count} in all, as '
        f"there {'are' if many else 'is'} {count} {kind} device{'s' if many else ''}, got "
        f'{devices!r}. Use "all".'
    )


def devices_in_use() -> int:
    """Return over how many devices programs run here and now."""
    mesh = jax.sharding.get_abstract_mesh()
    return 1 if mesh.empty else mesh.size


# Outside a program


def on_every_device(tree: Any) -> Any:
    """Return NumPy arrays as JAX's, whole on each device."""
    return jax.device_put(tree) if devices_in_use() == 1 else jax.device_put(tree, PartitionSpec())


def spread(state: Any) -> Any:
    """Return a training state where it lives; on one device as it is."""
    if devices_in_use() == 1:
        return state
    return jax.device_put(state, jax.tree.map(_of_weight, state))


def to_numpy(array: Any) -> np.ndarray:
    """Return a copy of a whole array, put together from this process's parts."""
    if not isinstance(array, jax.Array) or array.is_fully_addressable or array.is_fully_replicated:
        return np.array(array)
    whole = np.empty(array.shape, array.dtype)
    for part in array.addressable_shards:
        whole[part.index] = part.data
    return whole


def gathered(table: jax.Array) -> np.ndarray:
    """Return a whole array whose parts may lie in several processes; all must ask."""
    if table.is_fully_addressable or table.is_fully_replicated:
        return np.asarray(table)
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(table, tiled=True))


# Inside a program


def rows_split(batch: Any) -> Any:
    """Return a minibatch with its rows split; they need not come out even."""
    return _constrained(batch, lambda leaf: PartitionSpec(*[DATA][: leaf.ndim]))


def kept(state: Any) -> Any:
    """Return a training state that stays where `spread` put it."""
    return _constrained(state, _of_weight)


def whole(tree: Any) -> Any:
    """Return arrays that every device has whole."""
    return _constrained(tree, lambda leaf: PartitionSpec())


def _constrained(tree: Any, spec: Any) -> Any:
    if devices_in_use() == 1:
        return tree
    return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, spec(leaf)), tree)


def _of_weight(leaf: Any) -> PartitionSpec:
    """Return how an array of a state is split: large ones along their longest side."""
    shape = np.shape(leaf)
    if len(shape) < 2 or np.prod(shape) < SPLIT_NUMBERS:
        return PartitionSpec()
    parts = jax.sharding.get_abstract_mesh().shape[MODEL]
    longest = max(range(len(shape)), key=lambda side: (shape[side], side))
    if parts == 1 or shape[longest] % parts:
        return PartitionSpec()
    return PartitionSpec(*(MODEL if side == longest else None for side in range(len(shape))))


# Between processes


def is_first_process() -> bool:
    """Tell whether this process is the one that writes files and prints."""
    return not jax.distributed.is_initialized() or jax.process_index() == 0


def of_each_process(number: int) -> list[int]:
    """Return the number that each process of a fit has; all of them must ask."""
    if devices_in_use() == 1 or jax.process_count() == 1:
        return [number]
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(np.int32(number)).tolist()


def join_processes() -> None:
    """Join the processes of a cluster, before anything else is asked of JAX.

    Slurm, Open MPI, Kubernetes and TPU pods are known to JAX. Elsewhere ``JAX_COORDINATOR_ADDRESS``
    (host:port of process 0), ``JAX_NUM_PROCESSES`` and ``JAX_PROCESS_ID`` say what is to be joined.

    Raises
    ------
    InputError
        Where none of these is there.
    """
    told = (os.environ.get(name) for name in ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID"))
    try:
        count, number = (None if text is None else int(text) for text in told)
        jax.distributed.initialize(num_processes=count, process_id=number)
    except (ValueError, RuntimeError) as error:
        raise InputError(
            "Several processes expected to be started by Slurm, Open MPI, Kubernetes or on a TPU "
            "pod, or to be told JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID, got "
            f"none of them that can be used: {error} See docs/devices.md."
        ) from error
