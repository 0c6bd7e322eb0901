// The recurrent sweep in bfloat16: the twin of src/lamina/kernels/recurrence.py, where the equations and
// their sources stand. recurrence.cc is the one in float32, half_recurrence_pullback.cc the backward rule.
//
// A step is one product of [h x] with [W_h; W_x] (half_recurrent_weights.h). Products, h and the saved gates
// are bfloat16; sums, c and whatever else adds up over steps are floats. Threads go each through all steps
// with rows of their own.
#include "half_recurrent_weights.h"

namespace lamina {
namespace {

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

}  // namespace
}  // namespace lamina

#define EXPORT_CELL(NAME, CELL) \
  EXPORT(half_##NAME##_forward, lamina::bound(lamina::forward<lamina::CELL>, "reverse", "keep", "threads"))

EXPORT_CELL(lstm, Lstm)
EXPORT_CELL(gru, Gru)
EXPORT_CELL(rnn_tanh, Plain<false>)
EXPORT_CELL(rnn_relu, Plain<true>)
