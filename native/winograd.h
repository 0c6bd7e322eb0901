// A convolution of 3×3 taps as products of matrices, with 4/9 or 1/4 of its multiplications.
//
// A tile of S×S results sees (S+2)×(S+2) cells d of a channel. With filters g (3, 3) of one channel,
//
//   Y = Aᵀ [ (G g Gᵀ) ∘ (Bᵀ d B) ] A,  summed over channels inside of [ ]
//
// so at each of the (S+2)² positions the sum over channels is a product of matrices, V U, with a row of V
// for each tile. Along an axis that is the product of polynomials by their values at S+1 points and at
// infinity: 0, 1 and -1 for S = 2, and 0, ±p and ±q for S = 4 (Along<S>, below). Source: Lavin and Gray 2016,
// "Fast algorithms for convolutional neural networks", equations 8 and 10.
//
// The algorithm is linear in d and in g, so its backward rule is its transpose: with the gradient
// Z = A dY Aᵀ at each position
//
//   dU = Vᵀ Z,  dg = Gᵀ dU G        dV = Z Uᵀ,  dd = B dV Bᵀ,  added up where tiles overlap.
//
// What is not a number comes out where the taps themselves would let it; for S = 4, all over its tile.
#pragma once

#include "blocks.h"
#include "strips.h"

namespace lamina {

// Along one axis: Bᵀ d, Aᵀ m, A y, B v, G g and Gᵀ u.
template <int S>
struct Along;

//  Bᵀ = 1  0 -1  0     G =  1   0   0     Aᵀ = 1  1  1  0
//       0  1  1  0         1/2 1/2 1/2         0  1 -1 -1
//       0 -1  1  0         1/2-1/2 1/2
//       0  1  0 -1          0   0   1
template <>
struct Along<2> {
  static INLINE void see(const Vector* d, Vector* v) {
    v[0] = d[0] - d[2], v[1] = d[1] + d[2];
    v[2] = d[2] - d[1], v[3] = d[1] - d[3];
  }
  static INLINE void make(const Vector* m, Vector* y) {
    y[0] = m[0] + m[1] + m[2], y[1] = m[1] - m[2] - m[3];
  }
  static INLINE void see_gradient(const Vector* y, Vector* z) {
    z[0] = y[0], z[1] = y[0] + y[1], z[2] = y[0] - y[1], z[3] = -y[1];
  }
  static INLINE void make_gradient(const Vector* v, Vector* d) {
    d[0] = v[0], d[1] = v[1] - v[2] + v[3];
    d[2] = v[1] + v[2] - v[0], d[3] = -v[3];
  }
  static INLINE void see_filter(const Vector* g, Vector* u) {
    const Vector ends = (g[0] + g[2]) * 0.5f, middle = g[1] * 0.5f;
    u[0] = g[0], u[1] = ends + middle, u[2] = ends - middle, u[3] = g[2];
  }
  static INLINE void make_filter_gradient(const Vector* u, Vector* g) {
    const Vector sum = (u[1] + u[2]) * 0.5f;
    g[0] = u[0] + sum, g[1] = (u[1] - u[2]) * 0.5f, g[2] = sum + u[3];
  }
};

//  Bᵀ = p²q²  0  -p²-q²   0    1  0     G = 1/p²q²   0    0       Aᵀ = 1  1  1  1  1  0
//        0  -pq²  -q²     p    1  0          e      pe   p²e           0  p -p  q -q  0
//        0   pq²  -q²    -p    1  0          e     -pe   p²e           0  p² p² q² q² 0
//        0  -p²q  -p²     q    1  0          f      qf   q²f           0  p³-p³ q³-q³ 1
//        0   p²q  -p²    -q    1  0          f     -qf   q²f
//        0   p²q²  0   -p²-q²  0  1          0       0    1
//
// with e = 1 / 2p²(p²-q²) and f = 1 / 2q²(q²-p²). The points p = 5/8 and q = 3/2 err by 6e-7 of the results,
// where the usual 1 and 2 do by 1.2e-6, those of S = 2 by 2e-7 and plain sums by 1e-7 (64 channels): as
// Barabasz et al. 2020, "Error analysis and improving the accuracy of Winograd convolution for deep neural
// networks", found, points near 1 and of few bits are best.
template <>
struct Along<4> {
  static constexpr float p = 0.625f, q = 1.5f, pp = p * p, qq = q * q;
  static constexpr float e = 0.5f / (pp * (pp - qq)), f = 0.5f / (qq * (qq - pp)), ends = 1 / (pp * qq);

  static INLINE void see(const Vector* d, Vector* v) {
    const Vector even = d[4] - d[2] * qq, odd = (d[3] - d[1] * qq) * p;
    const Vector even_q = d[4] - d[2] * pp, odd_q = (d[3] - d[1] * pp) * q;
    v[0] = d[4] - d[2] * (pp + qq) + d[0] * (pp * qq);
    v[1] = even + odd, v[2] = even - odd, v[3] = even_q + odd_q, v[4] = even_q - odd_q;
    v[5] = d[5] - d[3] * (pp + qq) + d[1] * (pp * qq);
  }
  static INLINE void make(const Vector* m, Vector* y) {
    const Vector even = m[1] + m[2], odd = (m[1] - m[2]) * p;
    const Vector even_q = m[3] + m[4], odd_q = (m[3] - m[4]) * q;
    y[0] = m[0] + even + even_q, y[1] = odd + odd_q;
    y[2] = even * pp + even_q * qq, y[3] = odd * pp + odd_q * qq + m[5];
  }
  static INLINE void see_gradient(const Vector* y, Vector* z) {
    const Vector even = y[0] + y[2] * pp, odd = (y[1] + y[3] * pp) * p;
    const Vector even_q = y[0] + y[2] * qq, odd_q = (y[1] + y[3] * qq) * q;
    z[0] = y[0], z[5] = y[3];
    z[1] = even + odd, z[2] = even - odd, z[3] = even_q + odd_q, z[4] = even_q - odd_q;
  }
  static INLINE void make_gradient(const Vector* v, Vector* d) {
    const Vector even = v[1] + v[2], odd = (v[1] - v[2]) * p;
    const Vector even_q = v[3] + v[4], odd_q = (v[3] - v[4]) * q;
    d[0] = v[0] * (pp * qq), d[1] = v[5] * (pp * qq) - odd * qq - odd_q * pp;
    d[2] = -(v[0] * (pp + qq)) - even * qq - even_q * pp, d[3] = odd + odd_q - v[5] * (pp + qq);
    d[4] = v[0] + even + even_q, d[5] = v[5];
  }
  static INLINE void see_filter(const Vector* g, Vector* u) {
    const Vector even = (g[0] + g[2] * pp) * e, odd = g[1] * (p * e);
    const Vector even_q = (g[0] + g[2] * qq) * f, odd_q = g[1] * (q * f);
    u[0] = g[0] * ends, u[5] = g[2];
    u[1] = even + odd, u[2] = even - odd, u[3] = even_q + odd_q, u[4] = even_q - odd_q;
  }
  static INLINE void make_filter_gradient(const Vector* u, Vector* g) {
    const Vector even = (u[1] + u[2]) * e, even_q = (u[3] + u[4]) * f;
    g[0] = u[0] * ends + even + even_q;
    g[1] = (u[1] - u[2]) * (p * e) + (u[3] - u[4]) * (q * f);
    g[2] = even * pp + even_q * qq + u[5];
  }
};

// S results a side of a tile, of which each P×P are pooled.
template <int S, int P>
struct Winograd {
  static constexpr int SEEN = S + 2, POSITIONS = SEEN * SEEN, RESULTS = S * S, CELLS = POSITIONS, TAPS = 9;
  static constexpr int POOLED = P * P;  // results of a pooling window
  static constexpr bool APART = true;   // a column of V is a channel of X
  static_assert(S % P == 0);
  const Sizes& size;
  const float* zeros;  // as many as there are channels

  int64_t depth() const { return size.channels; }
  int64_t down() const { return (size.cells().down + S - 1) / S; }
  int64_t right() const { return (size.cells().right + S - 1) / S; }
  int64_t tiles() const { return down() * right(); }  // of an image

  // Apply `along`, N numbers to M, to the columns of a matrix (N, N) and then to its rows. Its number i, row
  // by row, is x(i), and y(i, number) takes those of the outcome (M, M).
  template <int N, int M, class X, class F, class Y>
  static INLINE void twice(X x, F along, Y y) {
    Vector half[M * N];
    UNROLL for (int j = 0; j < N; j++) {
      Vector before[N], after[M];
      UNROLL for (int i = 0; i < N; i++) before[i] = x(i * N + j);
      along(before, after);
      UNROLL for (int i = 0; i < M; i++) half[i * N + j] = after[i];
    }
    UNROLL for (int i = 0; i < M; i++) {
      Vector after[M];
      along(half + i * N, after);
      UNROLL for (int j = 0; j < M; j++) y(i * M + j, after[j]);
    }
  }

  // U at each position, for LANES filters or channels: G g Gᵀ. W's lanes are `lane` apart.
  void see_filters(const float* W, ptrdiff_t lane, int64_t lanes, float* U, ptrdiff_t position) const {
    const ptrdiff_t tap = size.channels * size.filters;
    twice<3, SEEN>([&](int i) { return load_apart(W + i * tap, lane, lanes); }, Along<S>::see_filter,
                   [&](int i, Vector u) { store(U + i * position, u); });
  }

  // The gradient by LANES filters from that at each position: Gᵀ u G.
  void make_filters(const Vector (&u)[POSITIONS], int64_t lanes, float* dW) const {
    const ptrdiff_t tap = size.channels * size.filters;
    twice<SEEN, 3>([&](int i) { return u[i]; }, Along<S>::make_filter_gradient,
                   [&](int i, Vector g) { store_lanes(dW + i * tap, g, lanes); });
  }

  // The cells of one tile in an image of so many channels: null outside of it.
  template <class T>
  void cells(T* images, int64_t tile, T* (&found)[CELLS]) const {
    const int64_t image = tile / tiles(), of_image = tile % tiles();
    const int64_t top = of_image / right() * S - size.origin.down;
    const int64_t left = of_image % right() * S - size.origin.right;
    for (int64_t i = 0; i < SEEN; i++)
      for (int64_t j = 0; j < SEEN; j++) {
        const int64_t y = top + i, x = left + j;
        const bool inside = y >= 0 && y < size.image.down && x >= 0 && x < size.image.right;
        const int64_t at = ((image * size.image.down + y) * size.image.right + x) * size.channels;
        found[i * SEEN + j] = inside ? images + at : nullptr;
      }
  }

  // The number of cell `cell` of the pooling window that begins at result `first`.
  static constexpr int result(int first, int cell) { return first + cell / P * S + cell % P; }

  // Call f(result, at) for each pooled cell of a tile that is in the image of them: the first result of its
  // window, and the number of its first filter.
  template <class F>
  INLINE void for_pooled(int64_t tile, F f) const {
    const int64_t image = tile / tiles(), of_image = tile % tiles();
    const int64_t top = of_image / right() * (S / P), left = of_image % right() * (S / P);
    UNROLL for (int i = 0; i < S / P; i++) UNROLL for (int j = 0; j < S / P; j++) {
      const int64_t y = top + i, x = left + j;
      if (y < size.pooled.down && x < size.pooled.right)
        f((i * S + j) * P, ((image * size.pooled.down + y) * size.pooled.right + x) * size.filters);
    }
  }

  // V's row `row` of each position from the image's cells: V = Bᵀ d B.
  void see_tile(const float* X, int64_t tile, const Blocks& blocks, float* V, int64_t row) const {
    const float* from[CELLS];
    cells(X, tile, from);
    for (const float*& cell : from) cell = cell ? cell : zeros;
    blocks.for_vectors([&](int64_t channel, int64_t at, ptrdiff_t step) {
      float* to = V + at + row * step;
      twice<SEEN, SEEN>([&](int i) { return load_lanes(from[i] + channel, size.channels - channel); },
                        Along<S>::see, [&](int i, Vector v) { store(to + i * blocks.numbers(), v); });
    });
  }

  // LANES filters of the results of a tile from their products at each position: Y = Aᵀ m A.
  static INLINE void make_results(const float* m, ptrdiff_t position, Vector (&Y)[RESULTS]) {
    twice<SEEN, S>([&](int i) { return load(m + i * position); }, Along<S>::make,
                   [&](int i, Vector y) { Y[i] = y; });
  }

  // Z's vector at each position from the gradient by the results: Z = A dY Aᵀ.
  static INLINE void see_results(const Vector (&dY)[RESULTS], float* z, ptrdiff_t position) {
    twice<S, SEEN>([&](int i) { return dY[i]; }, Along<S>::see_gradient,
                   [&](int i, Vector all) { store(z + i * position, all); });
  }

  // Add B dV Bᵀ to the cells of a tile, at the channels of a panel V vectors wide.
  template <int V>
  void add_cells(float* dX, int64_t tile, int64_t first, const float* dV, ptrdiff_t position) const {
    float* to[CELLS];
    cells(dX, tile, to);
    for (int64_t c = first; c < std::min(first + V * LANES, size.channels); c += LANES) {
      const float* from = dV + c - first;
      const int64_t lanes = size.channels - c;
      twice<SEEN, SEEN>([&](int i) { return load(from + i * position); }, Along<S>::make_gradient,
                        [&](int i, Vector d) {
                          if (to[i]) store_lanes(to[i] + c, load_lanes(to[i] + c, lanes) + d, lanes);
                        });
    }
  }
};

}  // namespace lamina
