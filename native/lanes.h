// What crosses the lanes of vectors: sums within them, rows made columns, and whether any lane is set.
#pragma once

#include <utility>

#include "vector.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lamina {

// The sums of neighbours, those of a before those of b.
template <int... I>
static INLINE Vector pair_sums(Vector a, Vector b, std::integer_sequence<int, I...>) {
#if defined(__clang__)
  return __builtin_shufflevector(a, b, (2 * I)...) + __builtin_shufflevector(a, b, (2 * I + 1)...);
#else
  return __builtin_shuffle(a, b, Integers{(2 * I)...}) + __builtin_shuffle(a, b, Integers{(2 * I + 1)...});
#endif
}

// The vector whose lane i is the sum over the lanes of rows[i], by log2(LANES) rounds of pair sums.
template <int N>
static INLINE Vector lane_sums(const Vector (&rows)[N]) {
  if constexpr (N == 1) {
    return rows[0];
  } else {
    Vector half[N / 2];
    UNROLL for (int i = 0; i < N / 2; i++) half[i] =
        pair_sums(rows[2 * i], rows[2 * i + 1], std::make_integer_sequence<int, LANES>{});
    return lane_sums(half);
  }
}

static INLINE float lane_sum(Vector x) {
  float sum = 0.0f;
  UNROLL for (int i = 0; i < LANES; i++) sum += x[i];
  return sum;
}

// The numbers of a and b in turns: those of the lower halves of both, or of the upper.
template <class T, int... I>
static INLINE T dealt(T a, T b, bool upper, std::integer_sequence<int, I...>) {
  constexpr int N = sizeof...(I);
#if defined(__clang__)
  return upper ? __builtin_shufflevector(a, b, (N / 2 + I / 2 + I % 2 * N)...)
               : __builtin_shufflevector(a, b, (I / 2 + I % 2 * N)...);
#else
  typedef std::conditional_t<sizeof(T) == sizeof(Integers), Integers, T> Places;
  return upper ? __builtin_shuffle(a, b, Places{(N / 2 + I / 2 + I % 2 * N)...})
               : __builtin_shuffle(a, b, Places{(I / 2 + I % 2 * N)...});
#endif
}

// Exchange rows and columns, N of each. A number's place, row and column as one number, is turned left by one
// bit where rows i and i + N / 2 are dealt in turns; when row's bits are where column's were, all is done.
template <class T, int N>
static INLINE void transpose(T (&rows)[N]) {
  for (int width = 1; width < N; width *= 2) {
    T next[N];
    UNROLL for (int i = 0; i < N / 2; i++) {
      constexpr auto LANE = std::make_integer_sequence<int, N>{};
      next[2 * i] = dealt(rows[i], rows[i + N / 2], false, LANE);
      next[2 * i + 1] = dealt(rows[i], rows[i + N / 2], true, LANE);
    }
    UNROLL for (int i = 0; i < N; i++) rows[i] = next[i];
  }
}

// Whether x > low in any lane.
static INLINE bool any_above(Vector x, float low) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask((__m512)x, _mm512_set1_ps(low), _CMP_GT_OQ) != 0;
#elif defined(__AVX__)
  return _mm256_movemask_ps(_mm256_cmp_ps((__m256)x, _mm256_set1_ps(low), _CMP_GT_OQ)) != 0;
#else
  const Integers above = x > low;
  int32_t any = 0;
  UNROLL for (int i = 0; i < LANES; i++) any |= above[i];
  return any != 0;
#endif
}

}  // namespace lamina
