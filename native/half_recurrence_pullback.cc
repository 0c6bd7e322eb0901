// The backward rule of half_recurrence.cc, backpropagation through time: the gradients of the sweep in
// bfloat16.
//
// Gradients by the products are bfloat16; those by the states, and sums over steps, are floats. Threads go
// each back through all steps with rows of their own. The gradients by the products of some steps are
// collected, and then added to dW as products over those steps.
#include "half_recurrent_weights.h"

namespace lamina {
namespace {

constexpr int64_t COLLECTED_ROWS = 256;  // rows of step times batch whose gradients are kept for dW

// What the backward sweep of all threads reads and writes.
struct Backsweep {
  Sizes size;
  Widths width;
  Order order;
  const Half *X, *h, *gates;
  const float* c;
  const int32_t* lengths;
  const Half* dstates;  // null where no state but the last is used
  const float *dh_final, *dc_final;
  const Half *W_x, *W_h;  // turned and packed
  Half* dX;               // null where it is not wanted
  float *dh_initial, *dc_initial;
  int64_t dh_stride;
};

// What a thread works with, for rows rounded up to tiles. Gradients by the state after the step and by what
// reaches the state before it not through W_h, and by the products of a step; those of collected steps,
// packed, and the operands that they belong to, turned; its sums [group][row of W][slot][lane], and db.
struct Carried {
  int64_t rows, steps, depth;  // steps to collect, and their rows rounded up to blocks
  float *dh, *dc, *past, *dW, *db;
  Half *dproducts, *collected, *operand, *turned;

  Carried(Workspace& work, const Sizes& size, const Widths& width, int64_t own, int64_t dh_stride) {
    rows = round_up(own, SIDE);
    steps = std::max<int64_t>(1, COLLECTED_ROWS / std::max<int64_t>(1, rows));
    depth = round_up(steps * rows, DEPTH);
    dh = work.take_zeros(rows * dh_stride), dc = work.take_zeros(rows * dh_stride);
    past = work.take_zeros(rows * dh_stride);
    dW = work.take_zeros(width.all * size.slots), db = work.take_zeros(size.slots);
    const auto halves = [&](int64_t count) {
      return reinterpret_cast<Half*>(work.take_zeros((count + 1) / 2));
    };
    dproducts = halves(rows * size.slots), collected = halves(depth * size.slots);
    operand = halves(rows * width.all), turned = halves(depth * width.all);
  }
};

// The gradients by the products of one row and group, all slots of them.
template <class Cell>
INLINE void pull_back_row(const Backsweep& s, const Carried& own, int64_t k, int64_t p, int64_t row,
                          int64_t r, float* dproduct) {
  const int64_t n = s.size.rows, padded = s.size.padded, t = s.order.step(k), unit = p * Cell::UNITS;
  const int64_t before = (s.order.before(k) * n + row) * padded + unit;
  const int64_t after = (s.order.after(k) * n + row) * padded + unit, u = r * s.dh_stride + unit;
  float gates[SLOT_LANES], h[SLOT_LANES];
  for (int i = 0; Cell::SAVES_GATES && i < SLOT_LANES; i += LANES)
    store(gates + i, widened(load_halves(s.gates + (t * n + row) * s.size.slots + p * SLOT_LANES + i)));
  for (int i = 0; !Cell::SAVES_GATES && i < Cell::UNITS; i += LANES)
    store(h + i, widened(load_halves(s.h + after + i)));
  Cell::pullback(gates, Cell::SUMS_H ? s.c + before : nullptr, h, Cell::HAS_C ? s.c + before : nullptr,
                 Cell::HAS_C ? s.c + after : nullptr, own.dh + u, own.dc + u, own.past + u, dproduct);
}

// From the gradients by the state after step k to those by its products, the `i`-th collected, for all rows.
template <class Cell>
void pull_back_step(const Backsweep& s, const Carried& own, Rows rows, int64_t k, int64_t i) {
  const int64_t n = s.size.rows, units = s.size.units, t = s.order.step(k);
  const auto taken = [&](int64_t r) { return !s.lengths || t < s.lengths[rows.begin + r]; };
  for (int64_t r = 0; r < rows.size(); r++) {
    float *dh = own.dh + r * s.dh_stride, *past = own.past + r * s.dh_stride;
    if (s.dstates)
      for (int64_t j = 0; j < units; j += LANES) {
        const Halves d = load_halves(s.dstates + (t * n + rows.begin + r) * units + j, units - j);
        store(dh + j, load(dh + j) + widened(d));
      }
    if (!taken(r))  // the state passed through, and so does its gradient
      memcpy(past, dh, s.size.padded * 4);
    else if (s.lengths)
      memset(past, 0, s.size.padded * 4);
  }
  for (int64_t p = 0; p < s.size.groups; p++) {
    float* db = own.db + p * SLOT_LANES;
    for (int64_t r = 0; r < own.rows; r += 2) {
      float dproduct[2][SLOT_LANES] = {};
      for (int64_t e = 0; e < 2; e++)
        if (r + e < rows.size() && taken(r + e))
          pull_back_row<Cell>(s, own, k, p, rows.begin + r + e, r + e, dproduct[e]);
      const int64_t place = i * own.rows + r;
      Half* pairs = own.collected + (p * own.depth + place) / DEPTH * GROUP + place % DEPTH * SIDE;
      for (int v = 0; v < SLOTS; v++) {
        const Vector d = load(dproduct[0] + v * LANES), e = load(dproduct[1] + v * LANES);
        Half* to = own.dproducts + r * s.size.slots + p * SLOT_LANES + v * LANES;
        store_halves(to, rounded(d)), store_halves(to + s.size.slots, rounded(e));
        store_pairs(pairs + v * PACKED, rounded(d), rounded(e));
        store(db + v * LANES, load(db + v * LANES) + d + e);
      }
    }
  }
}

// dh of the step before = past + dproducts W_hᵀ; dX of this one = dproducts W_xᵀ.
void multiply_turned(const Backsweep& s, const Carried& own, Rows rows, int64_t t, Tiles<1, SLOTS>& tiles) {
  constexpr int64_t WIDTH = 4 * SIDE;
  const int64_t slots = s.size.slots, m = s.size.inputs, panel = slots / DEPTH * GROUP;
  for (int64_t first = 0; first < s.size.units; first += WIDTH)
    for (int64_t row = 0; row < own.rows; row += SIDE) {
      tiles.load(own.past + row * s.dh_stride + first, s.dh_stride);
      tiles.multiply_add(own.dproducts + row * slots, slots, s.W_h + first / WIDTH * panel, GROUP, slots);
      tiles.store(own.dh + row * s.dh_stride + first, s.dh_stride);
    }
  for (int64_t first = 0; s.dX && first < m; first += WIDTH)
    for (int64_t row = 0; row < own.rows; row += SIDE) {
      alignas(64) float block[SIDE][WIDTH];
      tiles.clear();
      tiles.multiply_add(own.dproducts + row * slots, slots, s.W_x + first / WIDTH * panel, GROUP, slots);
      tiles.store(block[0], WIDTH);
      for (int64_t r = row; r < std::min(row + SIDE, rows.size()); r++)
        for (int64_t j = 0; j < WIDTH && first + j < m; j += LANES)
          store_halves(s.dX + (t * s.size.rows + rows.begin + r) * m + first + j,
                       rounded(load(block[r - row] + j)), m - first - j);
    }
}

// Add what `steps` steps from k on say of the weights.
void add_collected(const Backsweep& s, const Carried& own, Rows rows, int64_t k, int64_t steps,
                   Tiles<1, SLOTS>& tiles) {
  const int64_t n = s.size.rows, m = s.size.inputs, all = s.width.all, padded = s.size.padded;
  for (int64_t i = 0; i < steps; i++) {
    for (int64_t r = 0; r < rows.size(); r++) {
      const int64_t row = rows.begin + r;
      memcpy(own.operand + r * all, s.h + (s.order.before(k + i) * n + row) * padded, padded * 2);
      memcpy(own.operand + r * all + s.width.h, s.X + (s.order.step(k + i) * n + row) * m, m * 2);
    }
    transpose(own.operand, all, own.turned + i * own.rows, own.depth, own.rows, all);
  }
  const int64_t used = steps * own.rows, depth = round_up(used, DEPTH);
  if (used < depth) {  // what stands there is of other steps
    for (int64_t row = 0; row < all; row++) memset(own.turned + row * own.depth + used, 0, SIDE * 2);
    for (int64_t p = 0; p < s.size.groups; p++)
      for (int v = 0; v < SLOTS; v++)
        memset(own.collected + (p * own.depth + used) / DEPTH * GROUP + v * PACKED + PACKED / 2, 0, PACKED);
  }
  for (int64_t p = 0; p < s.size.groups; p++)
    for (int64_t row = 0; row < all; row += SIDE) {
      float* sums = own.dW + (p * all + row) * SLOT_LANES;
      tiles.load(sums, SLOT_LANES);
      tiles.multiply_add(own.turned + row * own.depth, own.depth,
                         own.collected + p * own.depth / DEPTH * GROUP, GROUP, depth);
      tiles.store(sums, SLOT_LANES);
    }
}

template <class Cell>
void sweep_rows_back(const Backsweep& s, const Carried& own, Rows rows) {
  const int64_t units = s.size.units;
  for (int64_t r = 0; r < rows.size(); r++) {
    memcpy(own.dh + r * s.dh_stride, s.dh_final + (rows.begin + r) * units, units * 4);
    if (Cell::HAS_C) memcpy(own.dc + r * s.dh_stride, s.dc_final + (rows.begin + r) * units, units * 4);
  }
  Tiles<1, SLOTS> tiles;
  for (int64_t end = s.size.steps; end > 0;) {
    const int64_t begin = std::max<int64_t>(0, end - own.steps);
    for (int64_t k = end - 1; k >= begin; k--) {
      pull_back_step<Cell>(s, own, rows, k, k - begin);
      multiply_turned(s, own, rows, s.order.step(k), tiles);
    }
    add_collected(s, own, rows, begin, end - begin, tiles);
    end = begin;
  }
  for (int64_t r = 0; r < rows.size(); r++) {
    memcpy(s.dh_initial + (rows.begin + r) * units, own.dh + r * s.dh_stride, units * 4);
    if (Cell::HAS_C) memcpy(s.dc_initial + (rows.begin + r) * units, own.dc + r * s.dh_stride, units * 4);
  }
}

// The gradients of `forward`'s states. dstates may be empty, and dX, which is then not computed.
template <class Cell>
Status backward(Pool pool, HalfArray X, HalfArray W_x, HalfArray W_h, HalfArray h, Array c, HalfArray gates,
                Lengths lengths, HalfArray dstates, Array dh_final, Array dc_final, HalfResult dX,
                HalfResult dW_x, HalfResult dW_h, HalfResult db, Result dh_initial, Result dc_initial,
                bool reverse, int64_t threads) {
  const Sizes size = Sizes::of<Cell>(X, W_h);
  Workspace work;
  const Backsweep s{size,
                    Widths(size),
                    {size.steps, reverse},
                    X.typed_data(),
                    h.typed_data(),
                    gates.typed_data(),
                    c.typed_data(),
                    lengths.element_count() ? lengths.typed_data() : nullptr,
                    dstates.element_count() ? dstates.typed_data() : nullptr,
                    dh_final.typed_data(),
                    dc_final.typed_data(),
                    dX->element_count() ? pack_turned<Cell, Cell::X_FIRST, Cell::X_COUNT>(
                                              work, W_x.typed_data(), size.inputs, size)
                                        : nullptr,
                    pack_turned<Cell, Cell::H_FIRST, Cell::H_COUNT>(work, W_h.typed_data(), size.units, size),
                    dX->element_count() ? dX->typed_data() : nullptr,
                    dh_initial->typed_data(),
                    dc_initial->typed_data(),
                    round_up(size.units, 4 * SIDE)};
  const int64_t count = std::min(thread_count(pool, threads), std::max<int64_t>(1, size.rows));
  std::vector<Carried> parts;
  std::vector<const float*> all_dW, all_db;
  for (int64_t i = 0; i < count; i++) {
    parts.emplace_back(work, size, s.width, Rows(size.rows, i, count).size(), s.dh_stride);
    all_dW.push_back(parts[i].dW), all_db.push_back(parts[i].db);
  }
  parallel_for(pool, count,
               [&](int64_t i) { sweep_rows_back<Cell>(s, parts[i], Rows(size.rows, i, count)); });
  gather<Cell>(dW_h->typed_data(), size.units, 0, Cell::H_FIRST, Cell::H_COUNT, size, s.width.all, all_dW);
  gather<Cell>(dW_x->typed_data(), size.inputs, s.width.h, Cell::X_FIRST, Cell::X_COUNT, size, s.width.all,
               all_dW);
  float* wide_db = work.take(db->element_count() + LANES);
  unpack_bias_sum<Cell>(wide_db, size, all_db);
  const int64_t biases = db->element_count();
  for (int64_t j = 0; j < biases; j += LANES)
    store_halves(db->typed_data() + j, rounded(load(wide_db + j)), biases - j);
  return Status::Success();
}

}  // namespace
}  // namespace lamina

#define EXPORT_CELL(NAME, CELL) \
  EXPORT(half_##NAME##_backward, lamina::bound(lamina::backward<lamina::CELL>, "reverse", "threads"))

EXPORT_CELL(lstm, Lstm)
EXPORT_CELL(gru, Gru)
EXPORT_CELL(rnn_tanh, Plain<false>)
EXPORT_CELL(rnn_relu, Plain<true>)
