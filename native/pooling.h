// The numbers of a pooling window, cell by cell: the largest and who it was, or the mean and who gave to it.
//
//   max:      A = σ(max_v y_v + b)          the first winner v takes dA σ'(A)
//   average:  A = |V|⁻¹ Σ_v σ(y_v + b)      each v takes |V|⁻¹ dA σ'(y_v + b)
//
// Twin of src/lamina/kernels/pooling.py, for windows that tile the image.
#pragma once

#include <cstddef>

#include "vector.h"

namespace lamina {

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

// The largest of the vectors at z + offsets, or one that is not a number, and the first's number.
// CELLS of them, where that is known.
template <int CELLS>
static INLINE Vector largest(const float* z, const ptrdiff_t* offsets, int cells, Integers& place) {
  Vector most = load(z);
  place = Integers{};
  UNROLL for (int cell = 1; cell < (CELLS ? CELLS : cells); cell++) {
    const Vector x = load(z + offsets[cell]);
    const Integers wins = (x > most) | (x != x);
    most = wins ? x : most;
    place = wins ? Integers{} + cell : place;
  }
  return most;
}

// The mean of σ(z + b) over the vectors at z + offsets; bit v of `gave` is set where that of v is above
// zero, for the first eight.
template <int CELLS>
static INLINE Vector mean(const float* z, const ptrdiff_t* offsets, int cells, Vector b, bool is_relu,
                          Integers& gave) {
  Vector sum = {};
  gave = Integers{};
  cells = CELLS ? CELLS : cells;
  UNROLL for (int cell = 0; cell < cells; cell++) {
    Vector a = load(z + offsets[cell]) + b;
    if (is_relu) {
      a = relu(a);
      gave |= a > 0.0f ? Integers{} + (1 << (cell & 7)) : Integers{};
    }
    sum += a;
  }
  return sum / float(cells);
}

}  // namespace lamina
