// Matrices of bfloat16 numbers as the products of tiles.h read them: padded, turned, packed.
//
// A padded matrix has whole blocks of DEPTH x DEPTH numbers, zero beyond what it is of, since tiles read
// whole blocks, and zero times what is not a number is none. Packed for the right-hand side it is panels
// of DEPTH columns, [panel][block of rows][tile of columns][pair of rows][column][which of the pair].
#pragma once

#include "lanes.h"
#include "threads.h"
#include "tiles.h"
#include "workspace.h"

namespace lamina {

static inline Half* take_halves(Workspace& work, int64_t count) {
  return reinterpret_cast<Half*>(work.take((count + 1) / 2));
}

// Rows and columns are multiples of DEPTH.
struct Padded {
  const Half* data;
  int64_t rows, columns;
};

// Copy `count` numbers and add zeros up to `width`.
static INLINE void copy_row(Half* to, const Half* from, int64_t count, int64_t width) {
  memcpy(to, from, count * 2);
  memset(to + count, 0, (width - count) * 2);
}

// A matrix (rows, columns), where it lies if it is padded already.
static inline Padded pad(Pool& pool, int64_t threads, Workspace& work, const Half* data, int64_t rows,
                         int64_t columns) {
  const Padded padded{data, round_up(rows, DEPTH), round_up(columns, DEPTH)};
  if (padded.rows == rows && padded.columns == columns) return padded;
  Half* to = take_halves(work, padded.rows * padded.columns);
  parallel_for(pool, thread_count(pool, threads), [&](int64_t part) {
    const Rows own(padded.rows, part, thread_count(pool, threads));
    for (int64_t row = own.begin; row < own.end; row++)
      copy_row(to + row * padded.columns, data + row * columns, row < rows ? columns : 0, padded.columns);
  });
  return {to, padded.rows, padded.columns};
}

// to (columns, rows) = from (rows, columns) turned; both multiples of SIDE.
static inline void transpose(const Half* from, int64_t from_stride, Half* to, int64_t to_stride, int64_t rows,
                             int64_t columns) {
  for (int64_t row = 0; row < rows; row += SIDE)
    for (int64_t column = 0; column < columns; column += SIDE) {
      Halves block[SIDE];
      UNROLL for (int i = 0; i < SIDE; i++) block[i] = load_halves(from + (row + i) * from_stride + column);
      transpose(block);
      UNROLL for (int i = 0; i < SIDE; i++) store_halves(to + (column + i) * to_stride + row, block[i]);
    }
}

// A tile of two packed from rows of B, `stride` apart.
static INLINE void pack_tile(const Half* from, int64_t stride, Half* to) {
  for (int p = 0; p < SIDE; p++, from += 2 * stride)
    store_pairs(to + p * DEPTH, load_halves(from), load_halves(from + stride));
}

// The same from rows of Bᵀ: a pair stands there as one number of 32 bits, so this is a transposition.
static INLINE void pack_turned_tile(const Half* from, int64_t stride, Half* to) {
  Integers block[SIDE];
  UNROLL for (int i = 0; i < SIDE; i++) memcpy(&block[i], from + i * stride, sizeof block[i]);
  transpose(block);
  UNROLL for (int i = 0; i < SIDE; i++) memcpy(to + i * DEPTH, &block[i], sizeof block[i]);
}

// The panel of B, or Bᵀ, that begins at a column.
static inline void pack_panel(const Padded& B, bool turned, int64_t column, Half* to) {
  const int64_t depth = turned ? B.columns : B.rows;
  for (int64_t k = 0; k < depth; k += DEPTH)
    for (int64_t first = column; first < column + DEPTH; first += SIDE, to += PACKED)
      if (turned)
        pack_turned_tile(B.data + first * B.columns + k, B.columns, to);
      else
        pack_tile(B.data + k * B.columns + first, B.columns, to);
}

// B, or Bᵀ, packed by all threads.
static inline const Half* pack(Pool& pool, int64_t threads, Workspace& work, const Padded& B, bool turned) {
  const int64_t depth = turned ? B.columns : B.rows, columns = turned ? B.rows : B.columns;
  Half* packed = take_halves(work, B.rows * B.columns);
  parallel_for(pool, columns / DEPTH, thread_count(pool, threads),
               [&](int64_t panel) { pack_panel(B, turned, panel * DEPTH, packed + panel * DEPTH * depth); });
  return packed;
}

}  // namespace lamina
