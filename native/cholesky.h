// Symmetric positive definite systems of a few hundred unknowns: A = Uᵀ U, then Uᵀ z = b and U x = z.
//
// A is stored by rows, n a multiple of LANES; only its blocks on and above the diagonal are read. U
// comes a block row at a time: what the rows above take from it is one product of matrices, the block
// on the diagonal stays in registers. Source: Golub and Van Loan, Matrix Computations, section 4.2.
//
// Where a pivot is nothing but rounding the system is singular, and that unknown becomes zero.
#pragma once

#include <cmath>

#include "lanes.h"
#include "matrix.h"

namespace lamina {

constexpr float LEAST_PIVOT = 1e-7f;  // of the diagonal

template <bool SUBTRACT, int R, int V>
static INLINE void add_tile(const Vector (&tile)[R][V], float* to, int64_t stride) {
  UNROLL for (int r = 0; r < R; r++) UNROLL for (int v = 0; v < V; v++) {
    float* place = to + r * stride + v * LANES;
    store(place, SUBTRACT ? load(place) - tile[r][v] : load(place) + tile[r][v]);
  }
}

// C += or -= Aᵀ B for LANES rows of C and V vectors of columns; A and B have `depth` rows.
template <int V, bool SUBTRACT>
static void add_product_part(float* C, int64_t stride_C, const float* A, const float* B, int64_t stride,
                             int64_t depth) {
  for_tiles<TILE_ROWS<V>>(LANES, [&](auto R, int64_t first) {
    Vector tile[R][V];
    clear(tile);
    multiply_add<R, V>(tile, A + first, 1, stride, B, stride, depth);
    add_tile<SUBTRACT>(tile, C + first * stride_C, stride_C);
  });
}

// The same for any number of vectors.
template <bool SUBTRACT>
static void add_product(float* C, int64_t stride_C, const float* A, const float* B, int64_t stride,
                        int64_t depth, int64_t vectors) {
  constexpr int MOST = 3;
  while (vectors > 0) {
    const int64_t width = vectors == 4 ? 2 : std::min<int64_t>(vectors, MOST);
    call_with_constant<MOST>(
        width, [&](auto V) { add_product_part<V, SUBTRACT>(C, stride_C, A, B, stride, depth); });
    C += width * LANES, B += width * LANES, vectors -= width;
  }
}

// The blocks of A on and above the diagonal += Pᵀ P, P (depth, n).
static inline void add_gramian(float* A, int64_t n, const float* P, int64_t depth) {
  for (int64_t i = 0; i < n; i += LANES)
    add_product<false>(A + i * n + i, n, P + i, P + i, n, depth, (n - i) / LANES);
}

// Turn A into U; `inverse` (n) gets 1 over U's diagonal, or 0 where there is no pivot.
static void factorize(float* A, int64_t n, float* inverse) {
  for (int64_t i = 0; i < n; i++) inverse[i] = LEAST_PIVOT * A[i * n + i];
  for (int64_t j = 0; j < n; j += LANES) {
    float* corner = A + j * n + j;
    if (j) add_product<true>(corner, n, A + j, A + j, n, j, (n - j) / LANES);
    Vector row[LANES];
    UNROLL for (int k = 0; k < LANES; k++) row[k] = load(corner + k * n);
    UNROLL for (int k = 0; k < LANES; k++) {
      const float pivot = row[k][k];
      const float scale = pivot <= inverse[j + k] ? 0.0f : 1.0f / std::sqrt(pivot);
      row[k] *= scale;
      store(corner + k * n, row[k]);
      inverse[j + k] = scale;
      UNROLL for (int i = k + 1; i < LANES; i++) row[i] -= row[k] * corner[k * n + i];
    }
    for (int64_t c = LANES; c < n - j; c += LANES) {
      UNROLL for (int k = 0; k < LANES; k++) row[k] = load(corner + k * n + c);
      UNROLL for (int k = 0; k < LANES; k++) {
        row[k] *= inverse[j + k];
        store(corner + k * n + c, row[k]);
        UNROLL for (int i = k + 1; i < LANES; i++) row[i] -= row[k] * corner[k * n + i];
      }
    }
  }
}

// Turn b into the x of Uᵀ U x = b.
static void substitute(const float* U, int64_t n, const float* inverse, float* b) {
  for (int64_t j = 0; j < n; j += LANES) {
    const float* corner = U + j * n + j;
    Vector rest = load(b + j), z[LANES];
    UNROLL for (int k = 0; k < LANES; k++) {
      const float found = rest[k] * inverse[j + k];
      b[j + k] = found;
      z[k] = broadcast(found);
      rest -= z[k] * load(corner + k * n);
    }
    for (int64_t c = LANES; c < n - j; c += LANES) {
      Vector even = load(b + j + c), odd = {};
      UNROLL for (int k = 0; k < LANES; k += 2) {
        even -= z[k] * load(corner + k * n + c);
        odd -= z[k + 1] * load(corner + (k + 1) * n + c);
      }
      store(b + j + c, even + odd);
    }
  }
  for (int64_t j = n - LANES; j >= 0; j -= LANES) {
    const float* corner = U + j * n + j;
    Vector sums[LANES] = {};
    for (int64_t c = LANES; c < n - j; c += LANES) {
      const Vector x = load(b + j + c);
      UNROLL for (int k = 0; k < LANES; k++) sums[k] += x * load(corner + k * n + c);
    }
    store(b + j, load(b + j) - lane_sums(sums));
    for (int64_t k = LANES - 1; k >= 0; k--) {
      const float x = b[j + k] *= inverse[j + k];
      for (int64_t i = 0; i < k; i++) b[j + i] -= x * corner[i * n + k];
    }
  }
}

}  // namespace lamina
