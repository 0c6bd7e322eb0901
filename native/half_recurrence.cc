// The recurrent sweep in bfloat16, forward and backward: twins of src/lamina/kernels/recurrence.py, where the
// equations and their sources stand. recurrence.cc is the one in float32.
//
// A step is one product of [h x], each padded to whole blocks, with [W_h; W_x], in which a slot that does not
// see h or x has zeros (half_panels.h). Products, h and the saved gates are bfloat16; sums, c and whatever
// else adds up over steps are floats. Threads go each through all steps with rows of their own. Backward, the
// gradients by the products of some steps are collected, and then added to dW as products over those steps.
#include "half_panels.h"
#include "panels.h"

namespace lamina {
namespace {

constexpr int64_t COLLECTED_ROWS = 256;    // rows of step times batch whose gradients are kept for dW
constexpr int64_t GROUP = SLOTS * PACKED;  // halves in the packed tiles of all slots

// Where h and x stand in an operand, and how many columns all slots of all groups are.
struct Widths {
  int64_t h, all, slots;
  explicit Widths(const Sizes& size)
      : h(round_up(size.padded, DEPTH)), all(h + round_up(size.inputs, DEPTH)), slots(size.slots) {}
};

// W (rows, gates * units) into panels [group][block of rows][slot], from row `begin` on.
template <class Cell, int FIRST, int COUNT>
void pack_rows(Half* panels, const Half* W, int64_t rows, int64_t begin, const Sizes& size, int64_t all) {
  const int64_t width = Cell::GATES * size.units;
  for (int64_t p = 0; p < size.groups; p++)
    for_slots<Cell>(p, FIRST, COUNT, size.units, [&](int slot, int64_t column, int64_t count) {
      for (int64_t k = 0; k < rows; k += 2) {
        const int64_t block = (p * all + begin + k) / DEPTH;
        const Half* from = W + k * width + column;
        store_pairs(panels + block * GROUP + (FIRST + slot) * PACKED + k % DEPTH * SIDE,
                    load_halves(from, count), k + 1 < rows ? load_halves(from + width, count) : Halves{});
      }
    });
}

// Wᵀ, whose columns are W's rows, packed as [64 columns][block of slots' lanes][16 columns].
template <class Cell, int FIRST, int COUNT>
const Half* pack_turned(Workspace& work, const Half* W, int64_t outputs, const Sizes& size) {
  const int64_t width = Cell::GATES * size.units, count = round_up(outputs, 4 * SIDE) * size.slots;
  Half* panels = take_halves(work, count);
  std::fill_n(panels, count, Half(0));
  for (int64_t output = 0; output < outputs; output++)
    for (int64_t p = 0; p < size.groups; p++)
      for_slots<Cell>(p, FIRST, COUNT, size.units, [&](int slot, int64_t column, int64_t lanes) {
        for (int64_t lane = 0; lane < lanes; lane++) {
          const int64_t k = p * SLOT_LANES + (FIRST + slot) * LANES + lane;
          const int64_t tile = (output / (4 * SIDE) * size.slots + k / DEPTH * DEPTH) / DEPTH * SLOTS +
                               output % (4 * SIDE) / SIDE;
          panels[tile * PACKED + k % DEPTH / 2 * DEPTH + output % SIDE * 2 + k % 2] =
              W[output * width + column + lane];
        }
      });
  return panels;
}

// What the forward sweep of all threads reads and writes; the states' rows are padded.
struct Sweep {
  Sizes size;
  Widths width;
  Order order;
  bool keep;  // whether c and the gates of every step are saved
  const Half *X, *W;
  const float* b;
  const int32_t* lengths;  // null where all rows have all steps
  Half *h, *gates;
  float* c;  // for a cell that sums h, h itself
  int64_t c_step() const { return keep ? size.rows * size.padded : 0; }
};

// Where a step's arrays begin: of all rows, but `now` and `next`, the operands, of a thread's.
struct Step {
  int64_t t;
  const Half* now;
  Half* next;
  const float* c_before;
  float* c_after;
  Half *h_after, *gates;
};

// One row and group of units, whose products stand in `products`; `r` is the row's place in the operands.
template <class Cell>
INLINE void step_row(const Sweep& s, const Step& step, int64_t p, int64_t row, int64_t r,
                     const float* products) {
  const int64_t unit = p * Cell::UNITS, at = row * s.size.padded + unit;
  const Half* before = step.now + r * s.width.all + unit;
  Half* after = step.next + r * s.width.all + unit;
  if (s.lengths && step.t >= s.lengths[row]) {  // a step not taken: the state stays
    memcpy(after, before, Cell::UNITS * 2);
    if ((Cell::HAS_C || Cell::SUMS_H) && s.keep)
      memcpy(step.c_after + at, step.c_before + at, Cell::UNITS * 4);
  } else {
    Vector product[SLOTS];
    UNROLL for (int v = 0; v < SLOTS; v++) product[v] =
        load(products + v * LANES) + load(s.b + p * SLOT_LANES + v * LANES);
    float h[SLOT_LANES], gates[SLOT_LANES];
    const float* h_before = Cell::SUMS_H ? step.c_before + at : nullptr;
    Cell::step(product, h_before, step.c_before + at, h, step.c_after + at, step.gates ? gates : nullptr);
    if (Cell::SUMS_H) memcpy(step.c_after + at, h, Cell::UNITS * 4);
    for (int i = 0; i < Cell::UNITS; i += LANES) store_halves(after + i, rounded(load(h + i)));
    for (int i = 0; step.gates && i < SLOT_LANES; i += LANES)
      store_halves(step.gates + row * s.size.slots + p * SLOT_LANES + i, rounded(load(gates + i)));
  }
  memcpy(step.h_after + at, after, Cell::UNITS * 2);
}

// `operands`: twice the thread's rows, rounded up to tiles; zero.
template <class Cell>
void sweep_rows(const Sweep& s, Rows rows, Half* operands) {
  const int64_t n = s.size.rows, m = s.size.inputs, states = n * s.size.padded, all = s.width.all;
  Half* const other = operands + round_up(rows.size(), SIDE) * all;
  for (int64_t r = 0; r < rows.size(); r++)
    memcpy(operands + r * all, s.h + (s.order.before(0) * n + rows.begin + r) * s.size.padded,
           s.size.padded * 2);
  Tiles<1, SLOTS> tiles;
  alignas(64) float products[SIDE * SLOT_LANES];
  for (int64_t k = 0; k < s.size.steps; k++) {
    const int64_t t = s.order.step(k), before = s.order.before(k), after = s.order.after(k);
    Half *now = k % 2 ? other : operands, *next = k % 2 ? operands : other;
    const Step step{t,
                    now,
                    next,
                    s.c + before * s.c_step(),
                    s.c + after * s.c_step(),
                    s.h + after * states,
                    Cell::SAVES_GATES && s.keep ? s.gates + t * n * s.size.slots : nullptr};
    for (int64_t r = 0; r < rows.size(); r++)
      memcpy(now + r * all + s.width.h, s.X + (t * n + rows.begin + r) * m, m * 2);
    for (int64_t p = 0; p < s.size.groups; p++)
      for (int64_t first = 0; first < rows.size(); first += SIDE) {
        tiles.clear();
        tiles.multiply_add(now + first * all, all, s.W + p * all / DEPTH * GROUP, GROUP, all);
        tiles.store(products, SLOT_LANES);
        for (int64_t r = first; r < std::min(first + SIDE, rows.size()); r++)
          step_row<Cell>(s, step, p, rows.begin + r, r, products + (r - first) * SLOT_LANES);
      }
  }
}

// Round rows of `units` floats into rows of `padded`, zero beyond.
void round_padded(Half* to, const float* from, const Sizes& size) {
  for (int64_t r = 0; r < size.rows; r++)
    for (int64_t j = 0; j < size.padded; j += LANES) {
      const int64_t lanes = std::max<int64_t>(0, size.units - j);
      store_halves(to + r * size.padded + j, rounded(load_lanes(from + r * size.units + j, lanes)));
    }
}

// Write the states (t + 1, n, padded) with the initial one at its end, c likewise, and the gates.
// Without `keep` there is one c, and no gates.
template <class Cell>
Status forward(Pool pool, HalfArray X, HalfArray W_x, HalfArray W_h, HalfArray b, Array h_initial,
               Array c_initial, Lengths lengths, HalfResult h, Result c, HalfResult gates, bool reverse,
               bool keep, int64_t threads) {
  const Sizes size = Sizes::of<Cell>(X, W_h);
  const Widths width(size);
  const int64_t weights = size.groups * width.all * SLOT_LANES;
  Workspace work;
  Half* packed = take_halves(work, weights);
  std::fill_n(packed, weights, Half(0));
  pack_rows<Cell, Cell::H_FIRST, Cell::H_COUNT>(packed, W_h.typed_data(), size.units, 0, size, width.all);
  pack_rows<Cell, Cell::X_FIRST, Cell::X_COUNT>(packed, W_x.typed_data(), size.inputs, width.h, size,
                                                width.all);
  float* wide_b = work.take(b.element_count());
  for (size_t i = 0; i < b.element_count(); i++) wide_b[i] = widened(b.typed_data()[i]);
  Sweep sweep{size,
              width,
              {size.steps, reverse},
              keep,
              X.typed_data(),
              packed,
              pack_bias<Cell>(work, wide_b, size),
              lengths.element_count() ? lengths.typed_data() : nullptr,
              h->typed_data(),
              gates->typed_data(),
              c->typed_data()};
  const int64_t start = reverse ? size.steps : 0;
  round_padded(sweep.h + start * size.rows * size.padded, h_initial.typed_data(), size);
  if (Cell::HAS_C || Cell::SUMS_H)
    copy_padded(sweep.c + start * sweep.c_step(), (Cell::HAS_C ? c_initial : h_initial).typed_data(),
                size.rows, size);
  const int64_t parts = std::min(thread_count(pool, threads), std::max<int64_t>(1, size.rows));
  std::vector<Half*> operands;
  for (int64_t i = 0; i < parts; i++) {
    const int64_t count = 2 * round_up(Rows(size.rows, i, parts).size(), SIDE) * width.all;
    operands.push_back(take_halves(work, count));
    std::fill_n(operands[i], count, Half(0));
  }
  parallel_for(pool, parts,
               [&](int64_t i) { sweep_rows<Cell>(sweep, Rows(size.rows, i, parts), operands[i]); });
  return Status::Success();
}

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

// dW (rows, gates * units) = the threads' sums from row `begin` on.
template <class Cell>
void gather(Half* dW, int64_t rows, int64_t begin, int first, int count, const Backsweep& s,
            const std::vector<Carried>& parts) {
  const int64_t width = Cell::GATES * s.size.units;
  for (int64_t p = 0; p < s.size.groups; p++)
    for_slots<Cell>(p, first, count, s.size.units, [&](int slot, int64_t column, int64_t lanes) {
      for (int64_t k = 0; k < rows; k++) {
        const int64_t at = ((p * s.width.all + begin + k) * SLOTS + first + slot) * LANES;
        Vector sum = {};
        for (const Carried& part : parts) sum += load(part.dW + at);
        store_halves(dW + k * width + column, rounded(sum), lanes);
      }
    });
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
  std::vector<const float*> all_db;
  for (int64_t i = 0; i < count; i++) {
    parts.emplace_back(work, size, s.width, Rows(size.rows, i, count).size(), s.dh_stride);
    all_db.push_back(parts[i].db);
  }
  parallel_for(pool, count,
               [&](int64_t i) { sweep_rows_back<Cell>(s, parts[i], Rows(size.rows, i, count)); });
  gather<Cell>(dW_h->typed_data(), size.units, 0, Cell::H_FIRST, Cell::H_COUNT, s, parts);
  gather<Cell>(dW_x->typed_data(), size.inputs, s.width.h, Cell::X_FIRST, Cell::X_COUNT, s, parts);
  float* wide_db = work.take(db->element_count() + LANES);
  unpack_bias_sum<Cell>(wide_db, size, all_db);
  const int64_t biases = db->element_count();
  for (int64_t j = 0; j < biases; j += LANES)
    store_halves(db->typed_data() + j, rounded(load(wide_db + j)), biases - j);
  return Status::Success();
}

}  // namespace
}  // namespace lamina

#define EXPORT_CELL(NAME, CELL)                                                                             \
  EXPORT(half_##NAME##_forward, lamina::bound(lamina::forward<lamina::CELL>, "reverse", "keep", "threads")) \
  EXPORT(half_##NAME##_backward, lamina::bound(lamina::backward<lamina::CELL>, "reverse", "threads"))

EXPORT_CELL(lstm, Lstm)
EXPORT_CELL(gru, Gru)
EXPORT_CELL(rnn_tanh, Plain<false>)
EXPORT_CELL(rnn_relu, Plain<true>)
