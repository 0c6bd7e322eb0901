// The recurrent sweep over a sequence, forward and backward: twins of src/lamina/kernels/recurrence.py,
// where the equations and their sources stand.
//
// The rows of the batch are split over the threads, and each goes through all steps without waiting for
// another. Weights are packed once a call (panels.h).
// Backward, the gradients by the products of some steps are collected while they fit in the cache, and
// then added to dW_x, dW_h and db as products over those steps; the threads' sums are added at the end.
#include <vector>

#include "arrays.h"
#include "cells.h"
#include "matrix.h"
#include "panels.h"
#include "threads.h"
#include "workspace.h"

namespace lamina {
namespace {

constexpr int64_t COLLECTED_ROWS = 128;  // rows of step times batch whose gradients are kept for dW

// What the forward sweep of all threads reads and writes; the states' rows are padded.
struct Sweep {
  Sizes size;
  Order order;
  bool keep;                       // whether c and the gates of every step are saved
  const float *X, *W_x, *W_h, *b;  // inputs as they came, the others packed
  const int32_t* lengths;          // null where all rows have all steps
  float *h, *c, *gates;
  int64_t c_step() const { return keep ? size.rows * size.padded : 0; }
};

// Where a step's arrays begin.
struct Step {
  int64_t t;
  const float *x, *h_before, *c_before;
  float *h_after, *c_after, *gates;
};

// One step of R rows from `first` on, for the units of group `p`.
template <class Cell, int R>
INLINE void step_tile(const Sweep& s, const Step& step, int64_t p, int64_t first) {
  const int64_t m = s.size.inputs, units = s.size.units, padded = s.size.padded;
  Vector product[R][SLOTS];
  load_tile(product, s.b + p * SLOT_LANES, 0);
  multiply_add<R, Cell::X_COUNT, Cell::X_FIRST>(
      product, step.x + first * m, m, 1, s.W_x + p * m * Cell::X_COUNT * LANES, Cell::X_COUNT * LANES, m);
  multiply_add<R, Cell::H_COUNT, Cell::H_FIRST>(product, step.h_before + first * padded, padded, 1,
                                                s.W_h + p * units * Cell::H_COUNT * LANES,
                                                Cell::H_COUNT * LANES, units);
  UNROLL for (int r = 0; r < R; r++) {
    const int64_t row = first + r, at = row * padded + p * Cell::UNITS;
    if (s.lengths && step.t >= s.lengths[row]) {  // a step not taken: the state stays
      memcpy(step.h_after + at, step.h_before + at, Cell::UNITS * 4);
      if (Cell::HAS_C && s.keep) memcpy(step.c_after + at, step.c_before + at, Cell::UNITS * 4);
    } else {
      Cell::step(product[r], step.h_before + at, step.c_before + at, step.h_after + at, step.c_after + at,
                 step.gates ? step.gates + row * s.size.slots + p * SLOT_LANES : nullptr);
    }
  }
}

template <class Cell>
void sweep_rows(const Sweep& s, Rows rows) {
  const int64_t n = s.size.rows, states = n * s.size.padded;
  for (int64_t k = 0; k < s.size.steps; k++) {
    const int64_t t = s.order.step(k), before = s.order.before(k), after = s.order.after(k);
    const Step step{t,
                    s.X + t * n * s.size.inputs,
                    s.h + before * states,
                    s.c + before * s.c_step(),
                    s.h + after * states,
                    s.c + after * s.c_step(),
                    Cell::SAVES_GATES && s.keep ? s.gates + t * n * s.size.slots : nullptr};
    for (int64_t p = 0; p < s.size.groups; p++)
      for_tiles<TILE_ROWS<SLOTS>>(
          rows.size(), [&](auto R, int64_t first) { step_tile<Cell, R>(s, step, p, rows.begin + first); });
  }
}

// Write the states (t + 1, n, padded) with the initial one at its end, c likewise, and the gates.
// Without `keep` there is one c, and no gates.
template <class Cell>
Status forward(Pool pool, Array X, Array W_x, Array W_h, Array b, Array h_initial, Array c_initial,
               Lengths lengths, Result h, Result c, Result gates, bool reverse, bool keep, int64_t threads) {
  const Sizes size = Sizes::of<Cell>(X, W_h);
  const Order order{size.steps, reverse};
  Workspace work;
  Sweep sweep;
  sweep.size = size, sweep.order = order, sweep.keep = keep;
  sweep.X = X.typed_data();
  sweep.W_x = pack<Cell, Cell::X_FIRST, Cell::X_COUNT>(work, W_x.typed_data(), size.inputs, size);
  sweep.W_h = pack<Cell, Cell::H_FIRST, Cell::H_COUNT>(work, W_h.typed_data(), size.units, size);
  sweep.b = pack_bias<Cell>(work, b.typed_data(), size);
  sweep.lengths = lengths.element_count() ? lengths.typed_data() : nullptr;
  sweep.h = h->typed_data(), sweep.c = c->typed_data(), sweep.gates = gates->typed_data();
  const int64_t start = reverse ? size.steps : 0;
  copy_padded(sweep.h + start * size.rows * size.padded, h_initial.typed_data(), size.rows, size);
  if (Cell::HAS_C) copy_padded(sweep.c + start * sweep.c_step(), c_initial.typed_data(), size.rows, size);
  const int64_t parts = std::min(thread_count(pool, threads), std::max<int64_t>(1, size.rows));
  parallel_for(pool, parts, [&](int64_t i) { sweep_rows<Cell>(sweep, Rows(size.rows, i, parts)); });
  return Status::Success();
}

// What the backward sweep of all threads reads and writes.
struct Backsweep {
  Sizes size;
  Order order;
  const float *X, *h, *c, *gates;
  const int32_t* lengths;
  const float *dstates, *dh_final, *dc_final;  // dstates null where no state but the last is used
  const float *W_x, *W_h;                      // transposed and packed
  float *dX, *dh_initial, *dc_initial;         // dX null where it is not wanted
  int64_t dh_stride;
};

// A thread's sums: panels [group][row][slot][lane] of dW_x and dW_h, and db.
struct Sums {
  float *dW_x, *dW_h, *db;
};

// What a thread keeps from step to step: gradients (rows, dh_stride) by the state after the step and by
// what reaches the state before it not through W_h; the collected gradients by the products,
// [group][collected row][slot][lane].
struct Carried {
  float *dh, *dc, *past, *dproducts;
  int64_t steps;  // to collect
  int64_t collected(const Rows& rows) const { return steps * rows.size(); }
};

// From the gradients by the state after step k to those by its products, for all rows.
template <class Cell>
void pull_back_step(const Backsweep& s, const Carried& carried, Rows rows, int64_t k, int64_t slot_of_step) {
  const auto [steps, n, m, units, groups, padded, slots] = s.size;
  const int64_t t = s.order.step(k), before = s.order.before(k) * n, after = s.order.after(k) * n;
  for (int64_t r = 0; r < rows.size(); r++) {
    const int64_t row = rows.begin + r;
    float *dh = carried.dh + r * s.dh_stride, *dc = carried.dc + r * s.dh_stride;
    float* past = carried.past + r * s.dh_stride;
    if (s.dstates)
      for (int64_t j = 0; j < units; j++) dh[j] += s.dstates[(t * n + row) * units + j];
    const bool taken = !s.lengths || t < s.lengths[row];
    if (!taken)  // the state passed through, and so does its gradient
      memcpy(past, dh, padded * 4);
    else if (s.lengths)
      memset(past, 0, padded * 4);
    for (int64_t p = 0; p < groups; p++) {
      float* dproduct =
          carried.dproducts + ((p * carried.collected(rows)) + slot_of_step * rows.size() + r) * SLOT_LANES;
      if (!taken) {
        memset(dproduct, 0, SLOT_LANES * 4);
        continue;
      }
      const int64_t u = p * Cell::UNITS, at_before = (before + row) * padded + u,
                    at_after = (after + row) * padded + u;
      Cell::pullback(Cell::SAVES_GATES ? s.gates + (t * n + row) * slots + p * SLOT_LANES : nullptr,
                     s.h + at_before, s.h + at_after, Cell::HAS_C ? s.c + at_before : nullptr,
                     Cell::HAS_C ? s.c + at_after : nullptr, dh + u, dc + u, past + u, dproduct);
    }
  }
}

// What stands in `dproducts`, the gradients by the products of collected steps: for each group of units
// rows of all slots, one for each step and row of the batch.
struct Collected {
  const float* dproducts;
  int64_t groups, group_stride;
  // Those from row `row` on, and from slot `slot` on.
  Collected from(int64_t row, int slot) const {
    return {dproducts + row * SLOT_LANES + slot * LANES, groups, group_stride};
  }
};

// to (rows, outputs) = from + dproducts Wᵀ over the first `slots` slots; from may be null, and then
// nothing is written beyond the outputs.
template <int V>
void multiply_transposed(Collected d, int slots, const float* W, int64_t rows, const float* from, float* to,
                         int64_t stride, int64_t outputs) {
  const int64_t depth = slots * LANES;
  for (int64_t first = 0; first < outputs; first += V * LANES, W += d.groups * depth * V * LANES)
    for_tiles<TILE_ROWS<V>>(rows, [&](auto R, int64_t row) {
      Vector tile[R][V];
      if (from)
        load_tile(tile, from + row * stride + first, stride);
      else
        clear(tile);
      for (int64_t p = 0; p < d.groups; p++)
        multiply_add<R, V>(tile, d.dproducts + p * d.group_stride + row * SLOT_LANES, SLOT_LANES, 1,
                           W + p * depth * V * LANES, V * LANES, depth);
      store_tile_part(tile, to + row * stride + first, stride, from ? V * LANES : outputs - first);
    });
}

// dW, panels [group][width], += the sum over `steps` of Aᵀ dproducts, where the step's A (rows, width)
// has its rows `stride` apart and stands `step_stride` after the last step's.
void add_weight_gradient(float* dW, int64_t width, const float* A, int64_t stride, int64_t step_stride,
                         Collected d, int64_t steps, int64_t rows) {
  for (int64_t p = 0; p < d.groups; p++)
    for_tiles<TILE_ROWS<SLOTS>>(width, [&](auto R, int64_t first) {
      Vector tile[R][SLOTS];
      float* to = dW + (p * width + first) * SLOT_LANES;
      load_tile(tile, to, SLOT_LANES);
      for (int64_t i = 0; i < steps; i++)
        multiply_add<R, SLOTS>(tile, A + i * step_stride + first, 1, stride,
                               d.dproducts + p * d.group_stride + i * rows * SLOT_LANES, SLOT_LANES, rows);
      store_tile(tile, to, SLOT_LANES);
    });
}

// db, [group][slot][lane], += the sum over the collected rows.
void add_bias_gradient(float* db, Collected d, int64_t rows) {
  for (int64_t p = 0; p < d.groups; p++) {
    Vector sum[1][SLOTS];
    load_tile(sum, db + p * SLOT_LANES, 0);
    for (int64_t row = 0; row < rows; row++)
      UNROLL for (int v = 0; v < SLOTS; v++) sum[0][v] +=
          load(d.dproducts + p * d.group_stride + row * SLOT_LANES + v * LANES);
    store_tile(sum, db + p * SLOT_LANES, 0);
  }
}

// Add what `steps` steps from k on say of the weights, and write dX of those steps.
template <class Cell>
void add_collected(const Backsweep& s, Collected d, const Sums& sums, Rows rows, int64_t k, int64_t steps) {
  const int64_t n = s.size.rows, m = s.size.inputs, padded = s.size.padded;
  const int64_t direction = s.order.reverse ? -1 : 1;
  add_bias_gradient(sums.db, d, steps * rows.size());
  add_weight_gradient(sums.dW_x, m, s.X + (s.order.step(k) * n + rows.begin) * m, m, direction * n * m, d,
                      steps, rows.size());
  add_weight_gradient(sums.dW_h, s.size.units, s.h + (s.order.before(k) * n + rows.begin) * padded, padded,
                      direction * n * padded, d, steps, rows.size());
  if (!s.dX) return;
  for (int64_t i = 0; i < steps; i++)
    with_panel_width(m, [&](auto V) {
      multiply_transposed<V>(d.from(i * rows.size(), Cell::X_FIRST), Cell::X_COUNT, s.W_x, rows.size(),
                             nullptr, s.dX + (s.order.step(k + i) * n + rows.begin) * m, m, m);
    });
}

template <class Cell>
void sweep_rows_back(const Backsweep& s, const Carried& carried, const Sums& sums, Rows rows) {
  const Sizes& size = s.size;
  const Collected d{carried.dproducts, size.groups, carried.collected(rows) * SLOT_LANES};
  for (int64_t r = 0; r < rows.size(); r++) {
    memcpy(carried.dh + r * s.dh_stride, s.dh_final + (rows.begin + r) * size.units, size.units * 4);
    if (Cell::HAS_C)
      memcpy(carried.dc + r * s.dh_stride, s.dc_final + (rows.begin + r) * size.units, size.units * 4);
  }
  for (int64_t end = size.steps; end > 0;) {
    const int64_t begin = std::max<int64_t>(0, end - carried.steps);
    for (int64_t k = end - 1; k >= begin; k--) {
      pull_back_step<Cell>(s, carried, rows, k, k - begin);
      with_panel_width(size.units, [&](auto V) {
        multiply_transposed<V>(d.from((k - begin) * rows.size(), Cell::H_FIRST), Cell::H_COUNT, s.W_h,
                               rows.size(), carried.past, carried.dh, s.dh_stride, size.units);
      });
    }
    add_collected<Cell>(s, d, sums, rows, begin, end - begin);
    end = begin;
  }
  for (int64_t r = 0; r < rows.size(); r++) {
    memcpy(s.dh_initial + (rows.begin + r) * size.units, carried.dh + r * s.dh_stride, size.units * 4);
    if (Cell::HAS_C)
      memcpy(s.dc_initial + (rows.begin + r) * size.units, carried.dc + r * s.dh_stride, size.units * 4);
  }
}

// The gradients of `forward`'s states. dstates may be empty, and dX, which is then not computed.
template <class Cell>
Status backward(Pool pool, Array X, Array W_x, Array W_h, Array h, Array c, Array gates, Lengths lengths,
                Array dstates, Array dh_final, Array dc_final, Result dX, Result dW_x, Result dW_h, Result db,
                Result dh_initial, Result dc_initial, bool reverse, int64_t threads) {
  const Sizes size = Sizes::of<Cell>(X, W_h);
  Workspace work;
  Backsweep s = {};
  s.size = size, s.order = {size.steps, reverse};
  s.X = X.typed_data(), s.h = h.typed_data(), s.c = c.typed_data(), s.gates = gates.typed_data();
  s.lengths = lengths.element_count() ? lengths.typed_data() : nullptr;
  s.dstates = dstates.element_count() ? dstates.typed_data() : nullptr;
  s.dh_final = dh_final.typed_data(), s.dc_final = dc_final.typed_data();
  s.dX = dX->element_count() ? dX->typed_data() : nullptr;
  s.dh_initial = dh_initial->typed_data(), s.dc_initial = dc_initial->typed_data();
  with_panel_width(size.units, [&](auto V) {
    s.W_h = pack_transposed<Cell, Cell::H_FIRST, Cell::H_COUNT>(work, W_h.typed_data(), size.units, V, size);
    s.dh_stride = std::max(size.padded, round_up(size.units, V * LANES));
  });
  if (s.dX)
    with_panel_width(size.inputs, [&](auto V) {
      s.W_x =
          pack_transposed<Cell, Cell::X_FIRST, Cell::X_COUNT>(work, W_x.typed_data(), size.inputs, V, size);
    });
  const int64_t parts = std::min(thread_count(pool, threads), std::max<int64_t>(1, size.rows));
  std::vector<Carried> carried(parts);
  std::vector<Sums> sums(parts);
  std::vector<const float*> all_dW_x, all_dW_h, all_db;
  for (int64_t i = 0; i < parts; i++) {
    const Rows rows(size.rows, i, parts);
    const int64_t state = rows.size() * s.dh_stride;
    const int64_t steps = std::max<int64_t>(1, COLLECTED_ROWS / std::max<int64_t>(1, rows.size()));
    carried[i] = {work.take_zeros(state), work.take_zeros(Cell::HAS_C ? state : 0), work.take_zeros(state),
                  work.take(steps * rows.size() * size.slots), steps};
    sums[i] = {work.take_zeros(size.inputs * size.slots), work.take_zeros(size.units * size.slots),
               work.take_zeros(size.slots)};
    all_dW_x.push_back(sums[i].dW_x), all_dW_h.push_back(sums[i].dW_h), all_db.push_back(sums[i].db);
  }
  parallel_for(pool, parts,
               [&](int64_t i) { sweep_rows_back<Cell>(s, carried[i], sums[i], Rows(size.rows, i, parts)); });
  unpack_sum<Cell>(dW_x->typed_data(), size.inputs, Cell::X_FIRST, Cell::X_COUNT, size, all_dW_x);
  unpack_sum<Cell>(dW_h->typed_data(), size.units, Cell::H_FIRST, Cell::H_COUNT, size, all_dW_h);
  unpack_bias_sum<Cell>(db->typed_data(), size, all_db);
  return Status::Success();
}

}  // namespace
}  // namespace lamina

#define EXPORT_CELL(NAME, CELL)                                                                      \
  EXPORT(NAME##_forward, lamina::bound(lamina::forward<lamina::CELL>, "reverse", "keep", "threads")) \
  EXPORT(NAME##_backward, lamina::bound(lamina::backward<lamina::CELL>, "reverse", "threads"))

EXPORT_CELL(lstm, Lstm)
EXPORT_CELL(gru, Gru)
EXPORT_CELL(rnn_tanh, Plain<false>)
EXPORT_CELL(rnn_relu, Plain<true>)
