// What a convolution is of, in numbers, and how its images are split into strips for the threads.
//
// A strip is some rows of the result of one image. A thread copies what they see, with the zeros around
// it, to memory of its own; so whole images, or parts of large ones, stay in its cache.
#pragma once

#include <numeric>

#include "arrays.h"
#include "taps.h"
#include "threads.h"

namespace lamina {

using Numbers = ffi::Span<const int64_t>;

constexpr int64_t STRIP_NUMBERS = 1 << 17;    // about what a strip may hold: half a megabyte
constexpr int64_t THREAD_PRODUCTS = 1 << 18;  // what is worth another thread

// X (images, image, channels), W (window, seen, filters), A (images, pooled, filters).
struct Sizes {
  Pair image, window, stride, dilation, pool, pooled;
  Pair origin;  // the zeros above and left of the image; below zero where it is cut
  int64_t images, channels, filters, groups;

  template <class Images>
  Sizes(const Images& X, const Images& W, Pair pooled, Numbers stride, Numbers dilation, Numbers origin,
        Numbers pool, int64_t groups)
      : stride{stride[0], stride[1]},
        dilation{dilation[0], dilation[1]},
        pool{pool[0], pool[1]},
        pooled(pooled),
        origin{origin[0], origin[1]},
        groups(groups) {
    const auto x = X.dimensions(), w = W.dimensions();
    images = x[0], image = {x[1], x[2]}, channels = x[3], window = {w[0], w[1]}, filters = w[3];
  }
  int64_t seen() const { return channels / groups; }  // channels by one filter
  int64_t made() const { return filters / groups; }   // channels by one group
  bool depthwise() const { return groups > 1 && seen() == 1 && made() == 1; }
  // The cells of X ∗ W that are pooled: those left over at the end are not computed.
  Pair cells() const { return {pooled.down * pool.down, pooled.right * pool.right}; }
  // How much of the image with its zeros so many rows, and all columns, of X ∗ W see.
  int64_t rows_seen(int64_t rows) const {
    return (rows - 1) * stride.down + (window.down - 1) * dilation.down + 1;
  }
  int64_t width() const {
    return (cells().right - 1) * stride.right + (window.right - 1) * dilation.right + 1;
  }
  // Where weights lie: for the convolution, or for its backward rule by the image.
  Layout layout(bool transposed) const {
    const bool across = transposed && !depthwise();
    return {window.right, seen() * filters, across ? 1 : filters, across ? filters : 1, made()};
  }
  // Numbers that are multiplied.
  int64_t products() const {
    return images * cells().down * cells().right * window.down * window.right * seen() * filters;
  }
};

static inline Pair size_of_images(const ffi::Span<const int64_t>& dimensions) {
  return {dimensions[1], dimensions[2]};
}

// Rows of A in one image.
struct Strip {
  int64_t image, begin, end;
  int64_t rows() const { return end - begin; }
};

// The strips of all images, dealt out to threads.
struct Strips {
  const Sizes& size;
  int64_t threads, of_image;

  // A strip's row of A takes `row_numbers` of a thread's memory.
  Strips(const Sizes& size, int64_t limit, int64_t row_numbers) : size(size) {
    threads = std::max<int64_t>(1, std::min(limit, size.products() / THREAD_PRODUCTS));
    const int64_t rows = std::max<int64_t>(1, size.pooled.down);
    of_image = (rows * row_numbers + STRIP_NUMBERS - 1) / STRIP_NUMBERS;
    if (size.images < 4 * threads)
      of_image = std::max(of_image, threads / std::gcd(std::max<int64_t>(1, size.images), threads));
    of_image = std::max<int64_t>(1, std::min(of_image, rows));
  }
  int64_t most_rows() const { return (size.pooled.down + of_image - 1) / of_image; }

  // Call f(thread, strip) for all strips, each thread's in order.
  template <class F>
  void for_all(Pool pool, F f) const {
    parallel_for(pool, threads, [&](int64_t thread) {
      const Rows own(size.images * of_image, thread, threads);
      for (int64_t i = own.begin; i < own.end; i++) {
        const Rows rows(size.pooled.down, i % of_image, of_image);
        f(thread, Strip{i / of_image, rows.begin, rows.end});
      }
    });
  }
};

// The filters as the convolution sees them in a strip of the padded image.
static inline Filters forward_filters(const Sizes& size) {
  std::vector<Tap> taps;
  const int64_t row = size.width() * size.channels;
  for (int64_t i = 0; i < size.window.down; i++)
    for (int64_t j = 0; j < size.window.right; j++)
      taps.push_back({{i, j}, i * size.dilation.down * row + j * size.dilation.right * size.channels});
  if (size.depthwise()) return {1, 1, size.filters, true, taps};
  return {size.groups, size.seen(), size.made(), false, taps};
}

// Copy what a strip sees of X, zero outside of the image.
static inline void copy_strip(const Sizes& size, const float* X, const Strip& strip, float* to) {
  const int64_t c = size.channels, width = size.width(), left = size.origin.right;
  const int64_t begin = std::clamp<int64_t>(left, 0, width);
  const int64_t end = std::clamp<int64_t>(left + size.image.right, begin, width);
  const int64_t first = strip.begin * size.pool.down * size.stride.down - size.origin.down;
  const int64_t rows = size.rows_seen(strip.rows() * size.pool.down);
  for (int64_t y = first; y < first + rows; y++, to += width * c) {
    const bool inside = y >= 0 && y < size.image.down && begin < end;
    std::fill(to, to + (inside ? begin : width) * c, 0.0f);
    if (!inside) continue;
    const int64_t row = strip.image * size.image.down + y;
    memcpy(to + begin * c, X + (row * size.image.right + begin - left) * c, (end - begin) * c * 4);
    std::fill(to + end * c, to + width * c, 0.0f);
  }
}

}  // namespace lamina
