// The numbers of a pooling window, cell by cell: the largest and who it was, or the mean and who gave to it.
//
//   max:      A = σ(max_v y_v + b)          the first winner v takes dA σ'(A)
//   average:  A = |V|⁻¹ Σ_v σ(y_v + b)      each v takes |V|⁻¹ dA σ'(y_v + b)
//
// Twin of src/lamina/kernels/pooling.py, for windows that tile the image.
#pragma once

#include <cstddef>

#include "arrays.h"
#include "vector.h"

namespace lamina {

using Places = ffi::Buffer<ffi::U8>;
using PlacesResult = ffi::ResultBuffer<ffi::U8>;

typedef uint8_t Bytes __attribute__((vector_size(LANES)));
typedef uint8_t UnalignedBytes __attribute__((vector_size(LANES), aligned(1)));

constexpr uint8_t NOWHERE = 255;  // the place of a winner that relu cut off

// The first `lanes` bytes as whole numbers, and back.
static INLINE Integers load_bytes(const uint8_t* from, int64_t lanes) {
  if (lanes >= LANES) return __builtin_convertvector(*(const UnalignedBytes*)from, Integers);
  Bytes bytes = {};
  memcpy(&bytes, from, lanes);
  return __builtin_convertvector(bytes, Integers);
}
static INLINE void store_bytes(uint8_t* to, Integers x, int64_t lanes) {
  const Bytes bytes = __builtin_convertvector(x, Bytes);
  if (lanes >= LANES)
    *(UnalignedBytes*)to = bytes;
  else
    memcpy(to, &bytes, lanes);
}

// The largest of the vectors at(0), at(1), ..., or one that is not a number, and the first's number.
// CELLS of them, where that is known.
template <int CELLS, class F>
static INLINE Vector largest(F at, int cells, Integers& place) {
  Vector most = at(0);
  place = Integers{};
  UNROLL for (int cell = 1; cell < (CELLS ? CELLS : cells); cell++) {
    const Vector x = at(cell);
    const Integers wins = (x > most) | (x != x);
    most = wins ? x : most;
    place = wins ? Integers{} + cell : place;
  }
  return most;
}

// The mean of σ(at(v) + b); bit v of `gave` is set where that of v is above zero, for the first eight.
template <int CELLS, class F>
static INLINE Vector mean(F at, int cells, Vector b, bool is_relu, Integers& gave) {
  Vector sum = {};
  gave = Integers{};
  cells = CELLS ? CELLS : cells;
  UNROLL for (int cell = 0; cell < cells; cell++) {
    Vector a = at(cell) + b;
    if (is_relu) {
      a = relu(a);
      gave |= a > 0.0f ? Integers{} + (1 << (cell & 7)) : Integers{};
    }
    sum += a;
  }
  return sum / float(cells);
}

// σ of the largest, plus b, or the mean of all σ(at(v) + b), and what the backward rule needs of it.
template <int CELLS, class F>
static INLINE Vector pooled(bool average, bool is_relu, F at, int cells, Vector b, Integers& place) {
  if (average) return mean<CELLS>(at, cells, b, is_relu, place);
  const Vector a = largest<CELLS>(at, cells, place) + b;
  if (!is_relu) return a;
  place = a > 0.0f ? place : Integers{} + NOWHERE;
  return relu(a);
}

// The gradient by cell `cell` of a window from that by what was pooled.
static INLINE Vector share(bool average, bool is_relu, Vector dA, Integers place, int cell, int cells) {
  if (!average) return place == cell ? dA : Vector{};
  const Vector part = dA / float(cells);
  return !is_relu || (place & (1 << cell)) != 0 ? part : Vector{};
}

}  // namespace lamina
