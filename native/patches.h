// A convolution as one product of matrices, P W, with P the patches of the image: a row for each window.
//
//   Y = P W        dW = Pᵀ dY        dP = dY Wᵀ, added up in the image where windows overlap
//
// Patches are laid out for some dozens of windows at a time, so that they never leave the cache. Source:
// Chellapilla, Puri and Simard 2006, "High performance convolutional neural networks for document
// processing"; the reference is src/lamina/kernels/patches.py. Channels come in whole vectors.
#pragma once

#include "blocks.h"
#include "strips.h"

namespace lamina {

struct Patches {
  static constexpr int POSITIONS = 1, RESULTS = 1, POOLED = 1;
  static constexpr bool APART = false;  // columns of two taps are added up in one number of dX
  const Sizes& size;
  const float* zeros;  // as many as there are channels

  int64_t taps() const { return size.window.down * size.window.right; }
  int64_t depth() const { return taps() * size.channels; }
  int64_t tiles() const { return size.pooled.down * size.pooled.right; }  // of an image: one a window

  void see_filters(const float* W, ptrdiff_t lane, int64_t lanes, float* U, ptrdiff_t) const {
    store(U, load_apart(W, lane, lanes));
  }
  void make_filters(const Vector (&u)[1], int64_t lanes, float* dW) const { store_lanes(dW, u[0], lanes); }

  // The cell of the image that one tap of a window sees: null outside of it.
  template <class T>
  T* cell(T* images, int64_t tile, int64_t tap) const {
    const int64_t image = tile / tiles(), of_image = tile % tiles();
    const int64_t y = of_image / size.pooled.right * size.stride.down - size.origin.down +
                      tap / size.window.right * size.dilation.down;
    const int64_t x = of_image % size.pooled.right * size.stride.right - size.origin.right +
                      tap % size.window.right * size.dilation.right;
    if (y < 0 || y >= size.image.down || x < 0 || x >= size.image.right) return nullptr;
    return images + ((image * size.image.down + y) * size.image.right + x) * size.channels;
  }

  static constexpr int result(int first, int) { return first; }
  template <class F>
  INLINE void for_pooled(int64_t tile, F f) const {
    f(0, tile * size.filters);
  }

  void see_tile(const float* X, int64_t tile, const Blocks& blocks, float* V, int64_t row) const {
    int64_t tap = -1, begin = 0;
    const float* from = zeros;
    blocks.for_vectors([&](int64_t column, int64_t at, ptrdiff_t step) {
      if (tap < 0 || column - begin == size.channels) {
        from = cell(X, tile, ++tap);
        from = from ? from : zeros;
        begin = column;
      }
      store(V + at + row * step, load(from + column - begin));
    });
  }

  static INLINE void make_results(const float* m, ptrdiff_t, Vector (&Y)[1]) { Y[0] = load(m); }
  static INLINE void see_results(const Vector (&dY)[1], float* z, ptrdiff_t) { store(z, dY[0]); }

  template <int V>
  void add_cells(float* dX, int64_t tile, int64_t first, const float* dP, ptrdiff_t) const {
    for (int v = 0; v < V; v++) {
      const int64_t column = first + v * LANES;
      float* to = cell(dX, tile, column / size.channels);
      if (!to) continue;
      to += column % size.channels;
      store(to, load(to) + load(dP + v * LANES));
    }
  }
};

}  // namespace lamina
