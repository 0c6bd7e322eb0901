// Numbers in bfloat16: the upper half of a float's bits, eight of them fraction with the leading one.
//
// They are kept and multiplied so; sums, and all that is not a product, are floats. Rounding to the nearest
// number of so many bits errs by at most u = 2^-8 of it. Source: Kalamkar et al. 2019, "A Study of BFLOAT16
// for Deep Learning Training".
#pragma once

#include "arrays.h"
#include "matrix.h"

namespace lamina {

typedef uint16_t Half;
using HalfArray = ffi::Buffer<ffi::BF16>;
using HalfResult = ffi::ResultBuffer<ffi::BF16>;

typedef Half Halves __attribute__((vector_size(LANES * 2)));
typedef Half UnalignedHalves __attribute__((vector_size(LANES * 2), aligned(2)));

static INLINE Halves load_halves(const Half* from) { return *(const UnalignedHalves*)from; }
static INLINE void store_halves(Half* to, Halves x) { *(UnalignedHalves*)to = x; }

// The first `lanes`, the others zero.
static INLINE Halves load_halves(const Half* from, int64_t lanes) {
  if (lanes >= LANES) return load_halves(from);
  Halves x = {};
  if (lanes > 0) memcpy(&x, from, lanes * 2);
  return x;
}
static INLINE void store_halves(Half* to, Halves x, int64_t lanes) {
  if (lanes >= LANES) return store_halves(to, x);
  if (lanes > 0) memcpy(to, &x, lanes * 2);
}

static INLINE Vector widened(Halves x) { return (Vector)(__builtin_convertvector(x, Integers) << 16); }
static INLINE float widened(Half x) {
  const uint32_t bits = uint32_t(x) << 16;
  float wide;
  memcpy(&wide, &bits, 4);
  return wide;
}

// To the nearest, ties to even; what is not a number stays so.
static INLINE Halves rounded(Vector x) {
  typedef uint32_t Bits __attribute__((vector_size(LANES * 4)));
  const Bits bits = (Bits)x, even = bits + 0x7fff + (bits >> 16 & 1);
  return __builtin_convertvector((x == x ? even : bits | 0x400000) >> 16, Halves);
}

// Numbers a and b as pairs (a_0, b_0), (a_1, b_1), ...: two rows as products of pairs read them.
static INLINE void store_pairs(Half* to, Halves a, Halves b) {
  const Integers pairs = __builtin_convertvector(a, Integers) | __builtin_convertvector(b, Integers) << 16;
  memcpy(to, &pairs, sizeof pairs);
}

}  // namespace lamina
