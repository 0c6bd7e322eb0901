// Vectors of floats as wide as the processor's registers, and the functions of them that gates need.
//
// Written with the vector extensions of GCC and Clang, so one source serves every instruction set:
// which one is decided by the compiler's -march alone. Not a number in, not a number out, throughout.
#pragma once

#include <cstdint>
#include <cstring>

#define INLINE inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")

namespace lamina {

#if defined(__AVX512F__)
constexpr int LANES = 16, REGISTERS = 32;
#elif defined(__AVX__)
constexpr int LANES = 8, REGISTERS = 16;
#else
constexpr int LANES = 4, REGISTERS = 32;  // Arm NEON
#endif

typedef float Vector __attribute__((vector_size(LANES * 4)));
typedef int32_t Integers __attribute__((vector_size(LANES * 4)));
typedef float Unaligned __attribute__((vector_size(LANES * 4), aligned(4)));

static INLINE Vector load(const float* from) { return *(const Unaligned*)from; }
static INLINE void store(float* to, Vector x) { *(Unaligned*)to = x; }
static INLINE Vector broadcast(float x) { return x - Vector{}; }

// The first `count` lanes, the others zero; `count` < LANES.
static INLINE Vector load_part(const float* from, int64_t count) {
  Vector x = {};
  memcpy(&x, from, count * 4);
  return x;
}
static INLINE void store_part(float* to, Vector x, int64_t count) { memcpy(to, &x, count * 4); }

// The first `lanes`, all of them in most calls, and then without the detour over memory.
static INLINE Vector load_lanes(const float* from, int64_t lanes) {
  return lanes >= LANES ? load(from) : load_part(from, lanes);
}
static INLINE void store_lanes(float* to, Vector x, int64_t lanes) {
  lanes >= LANES ? store(to, x) : store_part(to, x, lanes);
}

// A comparison with a number that is not one is false, and then x itself is kept.
static INLINE Vector at_least(Vector x, float low) { return x < low ? broadcast(low) : x; }
static INLINE Vector at_most(Vector x, float high) { return x > high ? broadcast(high) : x; }

static INLINE Vector sqrt(Vector x) {
  UNROLL for (int i = 0; i < LANES; i++) x[i] = __builtin_sqrtf(x[i]);
  return x;
}

static INLINE Vector relu(Vector x) { return at_least(x, 0.0f); }

// exp(x) = 2^n exp(r) with |r| <= ln(2)/2, a polynomial of degree 6 (Cephes' expf, Moshier 1992).
static INLINE Vector exp(Vector x) {
  x = at_most(at_least(x, -87.0f), 88.0f);
  Vector scaled = x * 1.44269504f + 128.5f;
  Integers n = __builtin_convertvector(scaled, Integers) - 128;
  Vector whole = __builtin_convertvector(n, Vector);
  Vector r = x - whole * 0.693359375f + whole * 2.12194440e-4f;
  Vector p = broadcast(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  return p * (Vector)((n + 127) << 23);
}

static INLINE Vector sigmoid(Vector x) { return 1.0f / (1.0f + exp(-x)); }

// A ratio of polynomials, within 4 units in the last place (the form that Eigen uses).
static INLINE Vector tanh(Vector x) {
  x = at_most(at_least(x, -7.9053111f), 7.9053111f);
  Vector s = x * x;
  Vector p = broadcast(-2.76076847742355e-16f);
  p = p * s + 2.00018790482477e-13f;
  p = p * s - 8.60467152213735e-11f;
  p = p * s + 5.12229709037114e-08f;
  p = p * s + 1.48572235717979e-05f;
  p = p * s + 6.37261928875436e-04f;
  p = p * s + 4.89352455891786e-03f;
  Vector q = broadcast(1.19825839466702e-06f);
  q = q * s + 1.18534705686654e-04f;
  q = q * s + 2.26843463243900e-03f;
  q = q * s + 4.89352518554385e-03f;
  return x * p / q;
}

}  // namespace lamina
