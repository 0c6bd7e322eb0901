// Global average pooling over the N cells of a sample, A = Σ_v X_v / N, and its backward rule dX_v = dA / N.
//
// Twin of `global_average_pool` in src/lamina/kernels/global_average.py. Source: Lin, Chen and Yan 2014,
// Network in Network, section 3.2.
#include "arrays.h"
#include "matrix.h"
#include "threads.h"

namespace lamina {
namespace {

constexpr int64_t THREAD_NUMBERS = 1 << 15;  // what is worth another thread

// Call f(sample, first cell, channels) for all samples of X (n, ..., channels), split over the threads.
template <class F>
void for_samples(Pool& pool, int64_t limit, const Array::Dimensions& X, int64_t numbers, F f) {
  const int64_t n = X[0], channels = X.back(), cells = n && channels ? numbers / n / channels : 0;
  const int64_t threads = std::min(thread_count(pool, limit), std::max<int64_t>(1, n));
  const int64_t parts = std::clamp<int64_t>(numbers / THREAD_NUMBERS, 1, threads);
  parallel_for(pool, parts, [&](int64_t part) {
    const Rows own(n, part, parts);
    for (int64_t i = own.begin; i < own.end; i++) f(i, cells, channels);
  });
}

Status forward(Pool pool, Array X, Result A, int64_t limit) {
  for_samples(pool, limit, X.dimensions(), X.element_count(),
              [&](int64_t i, int64_t cells, int64_t channels) {
                for (int64_t c = 0; c < channels; c += LANES) {
                  const float* from = X.typed_data() + i * cells * channels + c;
                  Vector sum = {};
                  for (int64_t v = 0; v < cells; v++) sum += load_lanes(from + v * channels, channels - c);
                  store_lanes(A->typed_data() + i * channels + c, sum / float(cells), channels - c);
                }
              });
  return Status::Success();
}

Status backward(Pool pool, Array dA, Result dX, int64_t limit) {
  const auto shape = dX->dimensions();
  for_samples(pool, limit, shape, dX->element_count(), [&](int64_t i, int64_t cells, int64_t channels) {
    for (int64_t c = 0; c < channels; c += LANES) {
      const Vector share = load_lanes(dA.typed_data() + i * channels + c, channels - c) / float(cells);
      float* to = dX->typed_data() + i * cells * channels + c;
      for (int64_t v = 0; v < cells; v++) store_lanes(to + v * channels, share, channels - c);
    }
  });
  return Status::Success();
}

}  // namespace
}  // namespace lamina

EXPORT(global_average_forward, lamina::bound(lamina::forward, "threads"))
EXPORT(global_average_backward, lamina::bound(lamina::backward, "threads"))
