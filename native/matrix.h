// The product of matrices at the heart of every kernel: a tile of the result stays in registers.
//
// A tile has R rows and V vectors of columns. The right-hand matrix is packed beforehand into panels,
// V vectors wide, so that it is read in order; the left-hand one is read where it lies, transposed or
// not. Source: Goto and van de Geijn 2008, "Anatomy of high-performance matrix multiplication".
#pragma once

#include <cstddef>
#include <type_traits>

#include "vector.h"

namespace lamina {

// The rows of a tile V vectors wide: the result takes at most three quarters of the registers, so that
// a row of the right-hand matrix and one broadcast number have room beside it; 8 rows are enough to
// keep the processor's adders busy.
template <int V>
constexpr int TILE_ROWS = REGISTERS * 3 / 4 / V < 8 ? REGISTERS * 3 / 4 / V : 8;

// tile[r][FIRST + v] += sum over k < depth of A[r, k] B[k, v], where A[r, k] is at
// A[r * row_stride + k * column_stride] and row k of B at B + k * stride_B.
template <int R, int V, int FIRST = 0, int WIDTH>
static INLINE void multiply_add(Vector (&tile)[R][WIDTH], const float* A, ptrdiff_t row_stride,
                                ptrdiff_t column_stride, const float* B, ptrdiff_t stride_B, int64_t depth) {
  static_assert(FIRST + V <= WIDTH);
  for (int64_t k = 0; k < depth; k++) {
    Vector b[V];
    UNROLL for (int v = 0; v < V; v++) b[v] = load(B + k * stride_B + v * LANES);
    UNROLL for (int r = 0; r < R; r++) {
      Vector a = broadcast(A[r * row_stride + k * column_stride]);
      UNROLL for (int v = 0; v < V; v++) tile[r][FIRST + v] += a * b[v];
    }
  }
}

template <int R, int V>
static INLINE void clear(Vector (&tile)[R][V]) {
  UNROLL for (int r = 0; r < R; r++) UNROLL for (int v = 0; v < V; v++) tile[r][v] = Vector{};
}

template <int R, int V>
static INLINE void load_tile(Vector (&tile)[R][V], const float* from, ptrdiff_t stride) {
  UNROLL for (int r = 0; r < R; r++) UNROLL for (int v = 0; v < V; v++) tile[r][v] =
      load(from + r * stride + v * LANES);
}

template <int R, int V>
static INLINE void store_tile(const Vector (&tile)[R][V], float* to, ptrdiff_t stride) {
  UNROLL for (int r = 0; r < R; r++) UNROLL for (int v = 0; v < V; v++)
      store(to + r * stride + v * LANES, tile[r][v]);
}

// The same where only the first `columns` columns are wanted.
template <int R, int V>
static INLINE void store_tile_part(const Vector (&tile)[R][V], float* to, ptrdiff_t stride, int64_t columns) {
  if (columns >= V * LANES) return store_tile(tile, to, stride);
  for (int r = 0; r < R; r++) {
    float row[V * LANES];
    UNROLL for (int v = 0; v < V; v++) store(row + v * LANES, tile[r][v]);
    memcpy(to + r * stride, row, columns * sizeof(float));
  }
}

template <int R, int V>
static INLINE void relu_tile(Vector (&tile)[R][V]) {
  UNROLL for (int r = 0; r < R; r++) UNROLL for (int v = 0; v < V; v++) tile[r][v] = relu(tile[r][v]);
}

static constexpr int64_t round_up(int64_t n, int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

// Call f(integral_constant V) with the width of panel, in vectors, that suits so many columns.
template <class F>
static INLINE void with_panel_width(int64_t columns, F f) {
  if (columns <= LANES) return f(std::integral_constant<int, 1>{});
  if (columns <= 2 * LANES) return f(std::integral_constant<int, 2>{});
  return f(std::integral_constant<int, 4>{});
}

// Call f(integral_constant n), for 1 <= n <= MOST.
template <int MOST, class F>
static INLINE void call_with_constant(int64_t n, F f) {
  if constexpr (MOST > 0) {
    if (n == MOST)
      f(std::integral_constant<int, MOST>{});
    else
      call_with_constant<MOST - 1>(n, f);
  }
}

// Call f(R, first) for tiles that cover `rows` rows, none higher than MOST and all about as high;
// R is a constant for the compiler.
template <int MOST, class F>
static INLINE void for_tiles(int64_t rows, F f) {
  const int64_t tiles = (rows + MOST - 1) / MOST;
  for (int64_t i = 0, first = 0; i < tiles; i++) {
    const int64_t height = rows / tiles + (i < rows % tiles);
    call_with_constant<MOST>(height, [&](auto R) { f(R, first); });
    first += height;
  }
}

}  // namespace lamina
