// A convolution of 3×3 taps as sixteen products of matrices, with 4/9 of its multiplications.
//
// A tile of 2×2 results sees 4×4 cells d of a channel. With filters g (3, 3) of one channel,
//
//   Y = Aᵀ [ (G g Gᵀ) ∘ (Bᵀ d B) ] A,  summed over channels inside of [ ]
//
//   Bᵀ = 1  0 -1  0     G =  1   0   0     Aᵀ = 1  1  1  0
//        0  1  1  0         1/2 1/2 1/2         0  1 -1 -1
//        0 -1  1  0         1/2-1/2 1/2
//        0  1  0 -1          0   0   1
//
// so at each of the 16 positions the sum over channels is a product of matrices, V U, with a row of V for
// each tile. Source: Lavin and Gray 2016, "Fast algorithms for convolutional neural networks", equations
// 8 and 10. The algorithm is linear in d and in g, so its backward rule is its transpose: with the
// gradient Z = A dY Aᵀ at each position
//
//   dU = Vᵀ Z,  dg = Gᵀ dU G        dV = Z Uᵀ,  dd = B dV Bᵀ,  added up where tiles overlap.
//
// What is not a number comes out exactly where the taps themselves would let it.
#pragma once

#include "blocks.h"
#include "strips.h"

namespace lamina {

struct Winograd {
  static constexpr int POSITIONS = 16, TAPS = 9;
  static constexpr int RESULTS = 4, CELLS = 16;  // of a tile, and of the image that it sees
  const Sizes& size;
  const float* zeros;  // as many as there are channels

  int64_t depth() const { return size.channels; }
  int64_t down() const { return (size.pooled.down + 1) / 2; }
  int64_t right() const { return (size.pooled.right + 1) / 2; }
  int64_t tiles() const { return down() * right(); }  // of an image

  // Along one axis: Bᵀ d, Aᵀ m, A y, B v, G g and Gᵀ u.
  static INLINE void see(const Vector* d, int step, Vector* v) {
    v[0] = d[0] - d[2 * step], v[1] = d[step] + d[2 * step];
    v[2] = d[2 * step] - d[step], v[3] = d[step] - d[3 * step];
  }
  static INLINE void make(const Vector* m, int step, Vector* y) {
    y[0] = m[0] + m[step] + m[2 * step], y[1] = m[step] - m[2 * step] - m[3 * step];
  }
  static INLINE void see_gradient(const Vector* y, int step, Vector* z) {
    z[0] = y[0], z[1] = y[0] + y[step], z[2] = y[0] - y[step], z[3] = -y[step];
  }
  static INLINE void make_gradient(const Vector* v, int step, Vector* d) {
    d[0] = v[0], d[1] = v[step] - v[2 * step] + v[3 * step];
    d[2] = v[step] + v[2 * step] - v[0], d[3] = -v[3 * step];
  }
  static INLINE void see_filter(const Vector* g, int step, Vector* u) {
    const Vector ends = (g[0] + g[2 * step]) * 0.5f, middle = g[step] * 0.5f;
    u[0] = g[0], u[1] = ends + middle, u[2] = ends - middle, u[3] = g[2 * step];
  }
  static INLINE void make_filter_gradient(const Vector* u, int step, Vector* g) {
    const Vector sum = (u[step] + u[2 * step]) * 0.5f;
    g[0] = u[0] + sum, g[1] = (u[step] - u[2 * step]) * 0.5f, g[2] = sum + u[3 * step];
  }

  // Apply `along`, N numbers to M, to the columns of x (N, N) and then to the rows: y (M, M).
  template <int N, int M, class F>
  static INLINE void twice(const Vector (&x)[N * N], Vector (&y)[M * M], F along) {
    Vector half[N * M];  // column j of the outcome is half[j * M ...]
    UNROLL for (int j = 0; j < N; j++) along(x + j, N, half + j * M);
    UNROLL for (int i = 0; i < M; i++) along(half + i, M, y + i * M);
  }

  // U at each position, for LANES filters or channels: G g Gᵀ. W's lanes are `lane` apart.
  void see_filters(const float* W, ptrdiff_t lane, int64_t lanes, float* U, ptrdiff_t position) const {
    const ptrdiff_t tap = size.channels * size.filters;
    Vector g[TAPS], u[POSITIONS];
    UNROLL for (int i = 0; i < TAPS; i++) g[i] = load_apart(W + i * tap, lane, lanes);
    twice<3, 4>(g, u, see_filter);
    UNROLL for (int i = 0; i < POSITIONS; i++) store(U + i * position, u[i]);
  }

  // The gradient by LANES filters from that at each position: Gᵀ u G.
  void make_filters(const Vector (&u)[POSITIONS], int64_t lanes, float* dW) const {
    Vector g[TAPS];
    twice<4, 3>(u, g, make_filter_gradient);
    UNROLL for (int i = 0; i < TAPS; i++) store_lanes(dW + i * size.channels * size.filters, g[i], lanes);
  }

  // The cells of one tile in an image of so many channels: null outside of it.
  template <class T>
  void cells(T* images, int64_t tile, T* (&found)[CELLS]) const {
    const int64_t image = tile / tiles(), of_image = tile % tiles();
    const int64_t top = of_image / right() * 2 - size.origin.down;
    const int64_t left = of_image % right() * 2 - size.origin.right;
    for (int64_t i = 0; i < 4; i++)
      for (int64_t j = 0; j < 4; j++) {
        const int64_t y = top + i, x = left + j;
        const bool inside = y >= 0 && y < size.image.down && x >= 0 && x < size.image.right;
        const int64_t at = ((image * size.image.down + y) * size.image.right + x) * size.channels;
        found[i * 4 + j] = inside ? images + at : nullptr;
      }
  }

  // Call f(i, index of its first filter) for each result i of a tile that is in the image of results.
  template <class F>
  INLINE void for_results(int64_t tile, F f) const {
    const int64_t image = tile / tiles(), of_image = tile % tiles();
    const int64_t top = of_image / right() * 2, left = of_image % right() * 2;
    UNROLL for (int i = 0; i < RESULTS; i++) {
      const int64_t y = top + i / 2, x = left + i % 2;
      if (y < size.pooled.down && x < size.pooled.right)
        f(i, ((image * size.pooled.down + y) * size.pooled.right + x) * size.filters);
    }
  }

  // V's row `row` of each position from the image's cells: V = Bᵀ d B.
  void see_tile(const float* X, int64_t tile, const Blocks& blocks, float* V, int64_t row) const {
    const float* from[CELLS];
    cells(X, tile, from);
    for (const float*& cell : from) cell = cell ? cell : zeros;
    blocks.for_vectors([&](int64_t channel, int64_t at, ptrdiff_t step) {
      Vector d[CELLS], v[CELLS];
      UNROLL for (int i = 0; i < CELLS; i++) d[i] = load_lanes(from[i] + channel, size.channels - channel);
      twice<4, 4>(d, v, see);
      UNROLL for (int i = 0; i < CELLS; i++) store(V + i * blocks.numbers() + at + row * step, v[i]);
    });
  }

  // LANES filters of the results of a tile from their products at each position: Y = Aᵀ m A.
  static INLINE void make_results(const float* m, ptrdiff_t position, Vector (&Y)[RESULTS]) {
    Vector all[CELLS];
    UNROLL for (int i = 0; i < CELLS; i++) all[i] = load(m + i * position);
    twice<4, 2>(all, Y, make);
  }

  // Z's vector at each position from the gradient by the results: Z = A dY Aᵀ.
  static INLINE void see_results(const Vector (&dY)[RESULTS], float* z, ptrdiff_t position) {
    Vector all[CELLS];
    twice<2, 4>(dY, all, see_gradient);
    UNROLL for (int i = 0; i < CELLS; i++) store(z + i * position, all[i]);
  }

  // Add B dV Bᵀ to the cells of a tile, at the channels of a panel V vectors wide.
  template <int V>
  void add_cells(float* dX, int64_t tile, int64_t first, const float* dV, ptrdiff_t position) const {
    float* to[CELLS];
    cells(dX, tile, to);
    for (int64_t c = first; c < std::min(first + V * LANES, size.channels); c += LANES) {
      Vector v[CELLS], d[CELLS];
      UNROLL for (int i = 0; i < CELLS; i++) v[i] = load(dV + c - first + i * position);
      twice<4, 4>(v, d, make_gradient);
      const int64_t lanes = size.channels - c;
      UNROLL for (int i = 0; i < CELLS; i++) if (to[i])
          store_lanes(to[i] + c, load_lanes(to[i] + c, lanes) + d[i], lanes);
    }
  }
};

}  // namespace lamina
