// A convolution as a sum over taps, and how filters are packed for that.
//
// A tap is one cell of the filters. It multiplies the image, moved by the tap's offset, by the matrix
// (inputs, outputs) of its weights:
//
//   Y[x] = sum over taps t of X[x + offset_t] W_t
//
// The backward rule by the image is a sum of the same form, with the offsets negated and each W_t
// transposed. Where an image's cells follow each other in memory as the taps do, the inputs of
// neighbouring taps are one longer row: a *run*, so no matrix of patches is built. Taps, runs and the
// packed weights are in the order of the offsets.
#pragma once

#include <vector>

#include "matrix.h"
#include "workspace.h"

namespace lamina {

// Something down and right in an image.
struct Pair {
  int64_t down, right;
};

struct Tap {
  Pair cell;         // of the filters
  ptrdiff_t offset;  // in numbers, from the cell where the window begins
};

struct Run {
  ptrdiff_t offset;
  int64_t depth;
};

// How many vectors wide a panel is of which `columns` columns are still to come, so that all panels
// together are as wide as the columns rounded up to whole vectors.
static inline int panel_width(int64_t columns) { return columns > 3 * LANES ? 4 : columns > LANES ? 2 : 1; }

// Call f(V, first) for each panel of so many columns: V vectors from column `first` on.
template <class F>
static INLINE void for_panels(int64_t columns, F f) {
  for (int64_t first = 0; first < columns;) {
    const int width = panel_width(columns - first);
    if (width == 4)
      f(std::integral_constant<int, 4>{}, first);
    else if (width == 2)
      f(std::integral_constant<int, 2>{}, first);
    else
      f(std::integral_constant<int, 1>{}, first);
    first += width * LANES;
  }
}

// Packed filters. `by_channel` is the depthwise case, where output c sees input c alone: one group
// of one input, and a panel is one vector.
struct Filters {
  int64_t groups, inputs, outputs;  // inputs and outputs of one group
  bool by_channel;
  std::vector<Tap> taps;
  std::vector<Run> runs;
  float* panels = nullptr;  // [group][panel][tap][input][lane], zero beyond the outputs

  Filters(int64_t groups, int64_t inputs, int64_t outputs, bool by_channel, std::vector<Tap> of)
      : groups(groups), inputs(inputs), outputs(outputs), by_channel(by_channel), taps(std::move(of)) {
    for (const Tap& tap : taps)
      if (!by_channel && !runs.empty() && runs.back().offset + runs.back().depth == tap.offset)
        runs.back().depth += inputs;
      else
        runs.push_back({tap.offset, inputs});
  }

  int64_t depth() const { return int64_t(taps.size()) * inputs; }
  int64_t padded() const { return round_up(outputs, LANES); }
  int64_t group_numbers() const { return depth() * padded(); }
  int64_t numbers() const { return groups * group_numbers(); }

  // Call f(V, first) for each panel of a group: V vectors of outputs from `first` on.
  template <class F>
  INLINE void for_panels(F f) const {
    if (!by_channel) return lamina::for_panels(outputs, f);
    for (int64_t first = 0; first < outputs; first += LANES) f(std::integral_constant<int, 1>{}, first);
  }
};

// Where a weight lies in W (i, j, inputs, outputs of all groups), as it is or transposed.
struct Layout {
  int64_t columns, tap, input, output, group;  // taps in a row of the filters, then distances
  int64_t at(const Tap& t, int64_t g) const {
    return (t.cell.down * columns + t.cell.right) * tap + g * group;
  }
};

// Call f(row of panels, index in W, lanes) for each row of tap `t`: `lanes` weights from there on.
template <class F>
static void for_rows(const Filters& filters, int64_t t, const Layout& W, F f) {
  const int64_t inputs = filters.inputs;
  for (int64_t g = 0; g < filters.groups; g++)
    filters.for_panels([&](auto V, int64_t first) {
      const int64_t panel = V * LANES, lanes = std::min(panel, filters.outputs - first);
      const int64_t rows = g * filters.group_numbers() + filters.depth() * first + t * inputs * panel;
      for (int64_t input = 0; input < inputs; input++)
        f(rows + input * panel, W.at(filters.taps[t], g) + input * W.input + first * W.output, lanes);
    });
}

static inline void pack(Workspace& work, Filters& filters, const float* W, const Layout& layout) {
  filters.panels = work.take_zeros(filters.numbers());
  for (int64_t t = 0; t < int64_t(filters.taps.size()); t++)
    for_rows(filters, t, layout, [&](int64_t row, int64_t from, int64_t lanes) {
      for (int64_t lane = 0; lane < lanes; lane++)
        filters.panels[row + lane] = W[from + lane * layout.output];
    });
}

// The weights of tap `t` = the sum of all `parts`, which are packed as the filters are.
static inline void unpack_sum(const Filters& filters, int64_t t, const std::vector<float*>& parts, float* W,
                              const Layout& layout) {
  for_rows(filters, t, layout, [&](int64_t row, int64_t to, int64_t lanes) {
    for (int64_t lane = 0; lane < lanes; lane++) {
      float sum = 0;
      for (const float* part : parts) sum += part[row + lane];
      W[to + lane * layout.output] = sum;
    }
  });
}

// The most cells, or rows of weights, of a tile V vectors wide: narrow tiles need more of them, so that
// as many sums are under way as the processor's adders take.
template <int V>
constexpr int TILE_CELLS = V == 4                       ? TILE_ROWS<4>
                           : REGISTERS * 3 / 4 / V < 12 ? REGISTERS * 3 / 4 / V
                                                        : 12;

// R cells from `from` on, `step` apart, of the outputs of one panel, into `to`, `stride` apart.
template <int R, int V>
static INLINE void convolve_tile(const Filters& filters, const float* panel, const float* from,
                                 ptrdiff_t step, float* to, ptrdiff_t stride, int64_t lanes) {
  Vector tile[R][V];
  clear(tile);
  for (const Run& run : filters.runs) {
    const float* cells = from + run.offset;
    if (V == 1 && filters.by_channel)
      UNROLL for (int r = 0; r < R; r++) tile[r][0] += load(cells + r * step) * load(panel);
    else
      multiply_add<R, V>(tile, cells, step, 1, panel, V * LANES, run.depth);
    panel += run.depth * V * LANES;
  }
  store_tile_part(tile, to, stride, lanes);
}

// `count` cells of a convolution: those of the image from `from` on, `step` apart, give the outputs in
// `to`, `stride` apart and a group's `group_stride`.
static inline void convolve_row(const Filters& filters, const float* from, ptrdiff_t step, float* to,
                                ptrdiff_t stride, ptrdiff_t group_stride, int64_t count) {
  for (int64_t g = 0; g < filters.groups; g++)
    filters.for_panels([&](auto V, int64_t first) {
      const float* panel = filters.panels + g * filters.group_numbers() + filters.depth() * first;
      const float* inputs = from + (filters.by_channel ? first : g * filters.inputs);
      for_tiles<TILE_CELLS<V>>(count, [&](auto R, int64_t cell) {
        convolve_tile<R, V>(filters, panel, inputs + cell * step, step,
                            to + cell * stride + g * group_stride + first, stride, group_stride - first);
      });
    });
}

// Rows of an image and of the gradient by the convolution of it: where they begin and their distances.
struct Sweep {
  const float* from;
  ptrdiff_t step, row;
  const float* dY;
  ptrdiff_t dY_step, dY_row;
  int64_t rows, columns;
};

template <int R, int V>
static INLINE void add_tile(const Vector (&tile)[R][V], float* to) {
  UNROLL for (int r = 0; r < R; r++) UNROLL for (int v = 0; v < V; v++)
      store(to + (r * V + v) * LANES, load(to + (r * V + v) * LANES) + tile[r][v]);
}

// dW of one panel, [tap][input][lane], += the sum over cells of the inputs times dY.
template <int V>
static INLINE void add_weight_gradient(const Filters& filters, const Sweep& s, float* dW) {
  for (const Run& run : filters.runs) {
    for_tiles<TILE_CELLS<V>>(run.depth, [&](auto R, int64_t first) {
      Vector tile[R][V];
      clear(tile);
      for (int64_t y = 0; y < s.rows; y++)
        multiply_add<R, V>(tile, s.from + y * s.row + run.offset + first, 1, s.step, s.dY + y * s.dY_row,
                           s.dY_step, s.columns);
      add_tile(tile, dW + first * V * LANES);
    });
    dW += run.depth * V * LANES;
  }
}

// The same where each output sees its own input alone: a tile is of several taps.
static inline void add_weight_gradient_by_channel(const Filters& filters, const Sweep& s, float* dW) {
  for_tiles<TILE_CELLS<1>>(filters.taps.size(), [&](auto R, int64_t first) {
    Vector tile[R][1];
    clear(tile);
    for (int64_t y = 0; y < s.rows; y++)
      for (int64_t x = 0; x < s.columns; x++) {
        const Vector d = load(s.dY + y * s.dY_row + x * s.dY_step);
        const float* cell = s.from + y * s.row + x * s.step;
        for (int r = 0; r < R; r++) tile[r][0] += load(cell + filters.taps[first + r].offset) * d;
      }
    add_tile(tile, dW + first * LANES);
  });
}

// dW, packed as the filters are, += what the cells of `s` say.
static inline void add_weight_gradients(const Filters& filters, const Sweep& s, float* dW) {
  for (int64_t g = 0; g < filters.groups; g++)
    filters.for_panels([&](auto V, int64_t first) {
      Sweep own = s;
      own.from += filters.by_channel ? first : g * filters.inputs;
      own.dY += g * filters.outputs + first;
      float* panel = dW + g * filters.group_numbers() + filters.depth() * first;
      if (filters.by_channel)
        add_weight_gradient_by_channel(filters, own, panel);
      else
        add_weight_gradient<V>(filters, own, panel);
    });
}

}  // namespace lamina
