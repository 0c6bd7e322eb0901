// The rows of a matrix for codes, and the gradient: the twin of src/lamina/kernels/embedding.py.
//
//   A_s = W_{x_s}        dW_v = sum over s with x_s = v of dA_s
//
// A code that W has no row for gives a row that is not a number, and adds to no gradient. Each thread
// adds to rows of its own, in the order of the codes, so the sums are the same for any number of threads.
#include <limits>

#include "arrays.h"
#include "threads.h"
#include "vector.h"

namespace lamina {
namespace {

constexpr int64_t THREAD_NUMBERS = 1 << 16;  // what is worth another thread

int64_t threads_for(Pool pool, int64_t limit, int64_t numbers) {
  return std::clamp<int64_t>(numbers / THREAD_NUMBERS, 1, thread_count(pool, limit));
}

Status forward(Pool pool, Array W, Lengths codes, Result A, int64_t limit) {
  const int64_t vocabulary = W.dimensions()[0], width = W.dimensions()[1], count = codes.element_count();
  const int64_t threads = threads_for(pool, limit, count * width);
  parallel_for(pool, threads, [&](int64_t part) {
    const Rows own(count, part, threads);
    for (int64_t s = own.begin; s < own.end; s++) {
      const int64_t code = codes.typed_data()[s];
      float* to = A->typed_data() + s * width;
      if (code >= 0 && code < vocabulary)
        memcpy(to, W.typed_data() + code * width, width * 4);
      else
        std::fill_n(to, width, std::numeric_limits<float>::quiet_NaN());
    }
  });
  return Status::Success();
}

void add_row(const float* from, float* to, int64_t width) {
  for (int64_t i = 0; i < width; i += LANES)
    store_lanes(to + i, load_lanes(to + i, width - i) + load_lanes(from + i, width - i), width - i);
}

Status backward(Pool pool, Lengths codes, Array dA, Result dW, int64_t limit) {
  const int64_t vocabulary = dW->dimensions()[0], width = dW->dimensions()[1], count = codes.element_count();
  const int64_t threads = threads_for(pool, limit, (count + vocabulary) * width);
  parallel_for(pool, threads, [&](int64_t part) {
    const Rows own(vocabulary, part, threads);
    std::fill_n(dW->typed_data() + own.begin * width, own.size() * width, 0.0f);
    for (int64_t s = 0; s < count; s++) {
      const int64_t code = codes.typed_data()[s];
      if (code >= own.begin && code < own.end)
        add_row(dA.typed_data() + s * width, dW->typed_data() + code * width, width);
    }
  });
  return Status::Success();
}

}  // namespace

}  // namespace lamina

EXPORT(embedding_forward, lamina::bound(lamina::forward, "threads"))
EXPORT(embedding_backward, lamina::bound(lamina::backward, "threads"))
