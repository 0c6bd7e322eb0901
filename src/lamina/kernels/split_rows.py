"""A sparse matrix and the factors of its rows and columns, each device with rows of its own.

Each device has as many rows as the others, the last ones empty where that does not come out even:
rows of the factors that are asked for, of those that stay fixed, and of the sparse matrix with
their entries. So a row's equations are solved where it lives. Only factors of its entries come from
elsewhere: all devices tell each other which rows they need, each answers with its own and zeros for
all others, and the sum over devices is what was asked for.

Source: Mehta et al. 2021, ALX: large scale matrix factorization on TPUs, section 4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from lamina.placement import DATA, MODEL, devices_in_use

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int

DEVICES = (DATA, MODEL)
ROWS, EVERYWHERE = PartitionSpec(DEVICES), PartitionSpec()


def split_table(table: Any) -> Any:
    """Return a table (n, …) split by its rows, with zero rows up to as many on each device."""
    each = -(-len(table) // devices_in_use())
    padded = np.zeros((each * devices_in_use(), *table.shape[1:]), table.dtype)
    padded[: len(table)] = table
    return jax.device_put(padded, ROWS)


def fetched(table: Float[Array, "r d"], rows: Int[Array, "h w"]) -> Float[Array, "h w d"]:
    """Return rows of a split table; inside `each_own`, ``table`` is this device's part."""
    wanted = jax.lax.all_gather(rows, DEVICES) - jax.lax.axis_index(DEVICES) * len(table)
    here = (wanted >= 0) & (wanted < len(table))
    own = jnp.where(here[..., None], table[jnp.where(here, wanted, 0)], 0)
    return jax.lax.psum_scatter(own, DEVICES)


def each_own(function: Callable, tables: Any, numbers: Any) -> Any:
    """Return the rows that ``function(tables, numbers)`` gives on each device, end to end.

    Parameters
    ----------
    function : callable
        Of the device's own part of each table, and of numbers that all devices have.
    tables, numbers : pytrees of arrays
        What is split by rows, and what is not.
    """
    mapped = jax.shard_map(function, in_specs=(ROWS, EVERYWHERE), out_specs=ROWS, check_vma=False)
    return mapped(tables, numbers)


class SplitRows(NamedTuple):
    """The rows of a CSR matrix as the devices have them; all on the host.

    Parameters
    ----------
    counts : int array of shape (p, r)
        Entries of each of p devices' r rows.
    place : int array of shape (p, e)
        The place in the whole matrix of each device's entries; 0 beyond them.
    """

    counts: Int[np.ndarray, "p r"]
    place: Int[np.ndarray, "p e"]

    @classmethod
    def of(cls, indptr: Int[np.ndarray, " n+1"]) -> SplitRows:
        """Split the rows that begin at ``indptr``."""
        parts = devices_in_use()
        each = -(-(len(indptr) - 1) // parts)
        starts = np.full(parts * each + 1, indptr[-1])
        starts[: len(indptr)] = indptr
        first, last = starts[:-1:each, None], starts[each::each, None]
        place = first + np.arange(max(1, (last - first).max()))
        return cls(np.diff(starts).reshape(parts, each), np.where(place < last, place, 0))

    @property
    def indptr(self) -> Int[np.ndarray, "p r+1"]:
        """Where each row's entries begin among its device's."""
        return np.pad(self.counts.cumsum(axis=1), ((0, 0), (1, 0)))

    def entries(self, array: np.ndarray | None) -> Array | None:
        """Return an array (e,) of the matrix's entries, each on the device that has its row."""
        return None if array is None else split_table(np.asarray(array)[self.place.ravel()])
