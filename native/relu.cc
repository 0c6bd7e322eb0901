// The backward rule of relu where it stands alone: dY = dA where A > 0, else 0.
//
// XLA would take relu anew where the mask is wanted, and keep relu's input for that, beside A, which what
// follows keeps anyway. Twin of `activate` in src/lamina/kernels/activation.py.
#include "arrays.h"
#include "matrix.h"
#include "threads.h"

namespace lamina {
namespace {

constexpr int64_t THREAD_NUMBERS = 1 << 15;  // what is worth another thread

Status backward(Pool pool, Array A, Array dA, Result dY, int64_t limit) {
  const int64_t count = A.element_count();
  const int64_t parts = std::clamp<int64_t>(count / THREAD_NUMBERS, 1, thread_count(pool, limit));
  const float *a = A.typed_data(), *from = dA.typed_data();
  float* to = dY->typed_data();
  parallel_for(pool, parts, [&](int64_t part) {
    const Rows own(count, part, parts);
    for (int64_t i = own.begin; i < own.end; i++) to[i] = a[i] > 0.0f ? from[i] : 0.0f;
  });
  return Status::Success();
}

}  // namespace
}  // namespace lamina

EXPORT(relu_backward, lamina::bound(lamina::backward, "threads"))
