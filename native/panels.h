// The weights of a recurrent layer as its kernels read them, and their gradients back as users see them.
//
// A user's W has its gates side by side, each a block of `units` columns. A panel holds all slots of a
// group of units (cells.h), so that a tile of the product has what a step of these units needs.
#pragma once

#include <algorithm>
#include <vector>

#include "arrays.h"
#include "cells.h"
#include "matrix.h"
#include "workspace.h"

namespace lamina {

// n rows of the batch, t steps, m inputs, h units; `padded` units in `groups` of Cell::UNITS.
struct Sizes {
  int64_t steps, rows, inputs, units, groups, padded, slots;
  template <class Cell, class Numbers>
  static Sizes of(const Numbers& X, const Numbers& W_h) {
    const auto x = X.dimensions();
    const int64_t units = W_h.dimensions()[0], groups = round_up(units, Cell::UNITS) / Cell::UNITS;
    return {int64_t(x[0]), int64_t(x[1]),        int64_t(x[2]),      units,
            groups,        groups * Cell::UNITS, groups * SLOT_LANES};
  }
};

// The order of steps and where the states are: states[before(k)] before step k, states[after(k)] after.
struct Order {
  int64_t steps;
  bool reverse;
  int64_t step(int64_t k) const { return reverse ? steps - 1 - k : k; }
  int64_t before(int64_t k) const { return reverse ? step(k) + 1 : step(k); }
  int64_t after(int64_t k) const { return reverse ? step(k) : step(k) + 1; }
};

// Call f(slot, column, count) for each slot of `group` in [first, first + slots): the columns
// [column, column + count) of a weight matrix of `units` units are its lanes.
template <class Cell, class F>
INLINE void for_slots(int64_t group, int first, int slots, int64_t units, F f) {
  for (int s = first; s < first + slots; s++) {
    const int64_t unit = group * Cell::UNITS + Cell::unit(s);
    f(s - first, Cell::gate(s) * units + unit, std::min<int64_t>(LANES, units - unit));
  }
}

// W (rows, gates * units) as panels [group][row][slot][lane], zero beyond the units.
template <class Cell, int FIRST, int COUNT>
float* pack(Workspace& work, const float* W, int64_t rows, const Sizes& size) {
  const int64_t width = Cell::GATES * size.units;
  float* panels = work.take_zeros(size.groups * rows * COUNT * LANES);
  for (int64_t p = 0; p < size.groups; p++)
    for_slots<Cell>(p, FIRST, COUNT, size.units, [&](int slot, int64_t column, int64_t count) {
      if (count <= 0) return;
      for (int64_t k = 0; k < rows; k++)
        memcpy(panels + ((p * rows + k) * COUNT + slot) * LANES, W + k * width + column, count * 4);
    });
  return panels;
}

// Wᵀ as panels [panel of outputs][group][slot][lane][output], where W's rows are the outputs.
template <class Cell, int FIRST, int COUNT>
float* pack_transposed(Workspace& work, const float* W, int64_t outputs, int V, const Sizes& size) {
  const int64_t width = Cell::GATES * size.units, panel = V * LANES;
  const int64_t depth = size.groups * COUNT * LANES;
  float* panels = work.take_zeros(round_up(outputs, panel) * depth);
  for (int64_t output = 0; output < outputs; output++)
    for (int64_t p = 0; p < size.groups; p++)
      for_slots<Cell>(p, FIRST, COUNT, size.units, [&](int slot, int64_t column, int64_t count) {
        const float* from = W + output * width + column;
        float* to = panels + ((output / panel) * depth + (p * COUNT + slot) * LANES) * panel;
        for (int64_t lane = 0; lane < count; lane++) to[lane * panel + output % panel] = from[lane];
      });
  return panels;
}

// The biases [group][slot][lane].
template <class Cell>
float* pack_bias(Workspace& work, const float* b, const Sizes& size) {
  float* packed = work.take_zeros(size.slots);
  for (int64_t unit = 0; unit < size.units; unit++)
    for (int s = 0; s < SLOTS; s++) {
      const int64_t lane = unit % Cell::UNITS - Cell::unit(s);
      if (lane >= 0 && lane < LANES)
        packed[(unit / Cell::UNITS * SLOTS + s) * LANES + lane] = b[Cell::bias(s) * size.units + unit];
    }
  return packed;
}

// Copy rows of `units` numbers into rows of `padded`, zero beyond.
inline void copy_padded(float* to, const float* from, int64_t rows, const Sizes& size) {
  for (int64_t r = 0; r < rows; r++) {
    memcpy(to + r * size.padded, from + r * size.units, size.units * 4);
    std::fill(to + r * size.padded + size.units, to + (r + 1) * size.padded, 0.0f);
  }
}

// dW (rows, gates * units) = the threads' sums, out of their panels.
template <class Cell>
void unpack_sum(float* dW, int64_t rows, int first, int count, const Sizes& size,
                const std::vector<const float*>& sums) {
  const int64_t width = Cell::GATES * size.units;
  for (int64_t p = 0; p < size.groups; p++)
    for_slots<Cell>(p, first, count, size.units, [&](int slot, int64_t column, int64_t lanes) {
      for (int64_t k = 0; k < rows && lanes > 0; k++) {
        Vector sum = {};
        for (const float* part : sums) sum += load(part + ((p * rows + k) * SLOTS + first + slot) * LANES);
        store_part(dW + k * width + column, sum, lanes);
      }
    });
}

template <class Cell>
void unpack_bias_sum(float* db, const Sizes& size, const std::vector<const float*>& sums) {
  std::fill_n(db, Cell::BIASES * size.units, 0.0f);
  for (int64_t unit = 0; unit < size.units; unit++)
    for (int s = 0; s < SLOTS; s++) {
      const int64_t lane = unit % Cell::UNITS - Cell::unit(s);
      if (lane < 0 || lane >= LANES) continue;
      for (const float* part : sums)
        db[Cell::bias(s) * size.units + unit] += part[(unit / Cell::UNITS * SLOTS + s) * LANES + lane];
    }
}

}  // namespace lamina
