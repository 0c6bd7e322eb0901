// Matrices in blocks of columns, as the products of `products.cc` read and write them.
//
// Columns are cut into panels, up to four vectors wide; a panel's rows follow each other without gaps. So
// a panel of some dozens of rows lies in the nearest cache whether it is read by rows or by columns, and
// is at once the left-hand matrix, the right-hand one or the result of a product. Source: Goto and van de
// Geijn 2008, "Anatomy of high-performance matrix multiplication".
#pragma once

#include "taps.h"

namespace lamina {

// `lanes` numbers, `apart` from each other.
static INLINE Vector load_apart(const float* from, ptrdiff_t apart, int64_t lanes) {
  if (apart == 1) return load_lanes(from, lanes);
  Vector x = {};
  UNROLL for (int i = 0; i < LANES; i++) x[i] = i < lanes ? from[i * apart] : 0.0f;
  return x;
}

// Where the numbers of a matrix lie: the panel that begins at column `first` begins at first * rows.
struct Blocks {
  int64_t rows, columns;
  // A cache line more than there are numbers: matrices one after another do not meet in the cache.
  int64_t numbers() const { return round_up(columns, LANES) * rows + 16; }

  // Call f(column, at, step) for each vector of columns: that of row r begins at `at` + r * step.
  template <class F>
  INLINE void for_vectors(F f) const {
    for_panels(columns, [&](auto V, int64_t first) {
      for (int v = 0; v < V; v++) f(first + v * LANES, first * rows + v * LANES, ptrdiff_t(V * LANES));
    });
  }
};

// C = A B: the rows of A, in blocks, times one packed panel (A.columns, V * LANES) of B.
template <int V>
static void multiply_panel(const Blocks& layout, const float* A, int64_t rows, const float* panel, float* C) {
  constexpr int64_t WIDTH = V * LANES;
  for_panels(layout.columns, [&](auto U, int64_t first) {
    const int64_t step = U * LANES, depth = std::min(step, layout.columns - first);
    for_tiles<TILE_CELLS<V>>(rows, [&](auto R, int64_t row) {
      Vector tile[R][V];
      if (first == 0)
        clear(tile);
      else
        load_tile(tile, C + row * WIDTH, WIDTH);
      multiply_add<R, V>(tile, A + first * layout.rows + row * step, step, 1, panel + first * WIDTH, WIDTH,
                         depth);
      store_tile(tile, C + row * WIDTH, WIDTH);
    });
  });
}

// C += Aᵀ B, where A is in blocks, B a panel V vectors wide of the same rows, and C a panel (A.columns,
// width).
template <int V>
static void add_product(const Blocks& of_A, const float* A, const float* B, int64_t rows, float* C) {
  constexpr int64_t WIDTH = V * LANES;
  for_panels(of_A.columns, [&](auto U, int64_t column) {
    const int64_t step = U * LANES;
    float* sums = C + column * WIDTH;
    for_tiles<TILE_CELLS<V>>(std::min(step, of_A.columns - column), [&](auto R, int64_t r) {
      Vector tile[R][V];
      load_tile(tile, sums + r * WIDTH, WIDTH);
      multiply_add<R, V>(tile, A + column * of_A.rows + r, 1, step, B, WIDTH, rows);
      store_tile(tile, sums + r * WIDTH, WIDTH);
    });
  });
}

}  // namespace lamina
