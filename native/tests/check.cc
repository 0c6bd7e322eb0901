// The kernels without Python: right values by the definition, the same from several threads at once, and
// no more threads than allowed. Built by `native/build.py --check`; under ThreadSanitizer in CI, and
// under an emulator for processors that are not at hand (CONTRIBUTING.md).
#include <cmath>
#include <cstring>

#include "frame.h"

#if defined(LAMINA_HALF)
#define KERNEL(NAME) half_##NAME
#else
#define KERNEL(NAME) NAME
#endif
#define DECLARE(NAME) extern "C" XLA_FFI_Error* KERNEL(NAME)(XLA_FFI_CallFrame*);
DECLARE(dense_forward)
DECLARE(dense_backward)
DECLARE(convolution_forward)
DECLARE(convolution_backward)
extern "C" XLA_FFI_Error* products_forward(XLA_FFI_CallFrame*);
extern "C" XLA_FFI_Error* products_backward(XLA_FFI_CallFrame*);
DECLARE(lstm_forward)
DECLARE(lstm_backward)
extern "C" const char* instruction_set();

namespace lamina::tests {
namespace {

using Arrays = std::vector<Array>;

#if defined(__AVX512F__)
constexpr const char* COMPILED_FOR = "avx512";
constexpr int64_t LANES = 16;
#elif defined(__AVX__)
constexpr const char* COMPILED_FOR = "avx2";
constexpr int64_t LANES = 8;
#else
constexpr const char* COMPILED_FOR = "neon";
constexpr int64_t LANES = 4;
#endif

// What the kernels multiply, and by how much of the largest number their results may err: half precision
// rounds by 2^-8 at most, a few times.
#if defined(LAMINA_HALF)
constexpr XLA_FFI_DataType TYPE = XLA_FFI_DataType_BF16;
constexpr double ERROR = 4.0 / 256;
#else
constexpr XLA_FFI_DataType TYPE = XLA_FFI_DataType_F32;
constexpr double ERROR = 1e-5;
#endif

Array random(std::vector<int64_t> shape, uint32_t seed) {
  return Array::random(std::move(shape), seed, TYPE);
}
Array room(std::vector<int64_t> shape) { return Array::of(std::move(shape), TYPE); }

void near(const char* what, const Array& ours, const std::vector<double>& theirs) {
  if (ours.numbers.size() != theirs.size()) fail(std::string(what) + " has another size than expected");
  double largest = 0;
  for (double x : theirs) largest = std::max(largest, std::abs(x));
  for (size_t i = 0; i < theirs.size(); i++)
    if (!(std::abs(ours[i] - theirs[i]) <= ERROR * largest))
      fail(std::string(what) + " [" + std::to_string(i) + "] expected " + std::to_string(theirs[i]) +
           ", got " + std::to_string(ours[i]));
}

// relu(X W + b) and its gradients by dA.
Arrays dense(Threads& threads, int64_t limit, uint32_t seed, bool compare) {
  const int64_t n = 37, m = 190, k = 70;
  const Array X = random({n, m}, seed), W = random({m, k}, seed + 1);
  const Array b = random({k}, seed + 2), dA = random({n, k}, seed + 3);
  Array A = room({n, k}), dX = room({n, m}), dW = room({m, k}), db = room({k});
  call(KERNEL(dense_forward), threads, {X, W, b}, {&A}, {{{"threads", limit}}, {{"relu", true}}});
  call(KERNEL(dense_backward), threads, {X, W, A, dA}, {&dX, &dW, &db}, {{{"threads", limit}}});
  if (compare) {
    std::vector<double> a(n * k), dx(n * m), dw(m * k), sum(k);
    for (int64_t i = 0; i < n; i++)
      for (int64_t j = 0; j < k; j++) {
        double y = b[j];
        for (int64_t l = 0; l < m; l++) y += double(X[i * m + l]) * W[l * k + j];
        a[i * k + j] = y > 0 ? y : 0;
        const double dy = A[i * k + j] > 0 ? dA[i * k + j] : 0;
        sum[j] += dy;
        for (int64_t l = 0; l < m; l++)
          dx[i * m + l] += dy * W[l * k + j], dw[l * k + j] += dy * X[i * m + l];
      }
    near("dense A", A, a), near("dense dX", dX, dx), near("dense dW", dW, dw), near("dense db", db, sum);
  }
  return {A, dX, dW, db};
}

using Kernel = XLA_FFI_Error*(XLA_FFI_CallFrame*);

// X ∗ W with 3 × 3 filters and its gradients; by products of matrices with tiles of `side`, unless that is
// null.
Arrays convolved(Threads& threads, int64_t limit, uint32_t seed, bool compare, Kernel* forward,
                 Kernel* backward, std::vector<int64_t> size, const int64_t* side) {
  const int64_t n = size[0], h = size[1], w = size[2], c = size[3], k = size[4];
  const int64_t i = 3, H = h - i + 1, V = w - i + 1;
  const Array X = random({n, h, w, c}, seed), W = random({i, i, c, k}, seed + 1);
  const Array dA = random({n, H, V, k}, seed + 2);
  Array A = room({n, H, V, k}), places = none(XLA_FFI_DataType_U8), dX = room({n, h, w, c});
  Array dW = room({i, i, c, k}), db = none(TYPE);
  Attributes told{{{"threads", limit}, {"groups", 1}},
                  {{"relu", false}, {"average", false}},
                  {{"stride", {1, 1}}, {"dilation", {1, 1}}, {"origin", {0, 0}}, {"window", {1, 1}}}};
  if (side) told.numbers["side"] = *side;
  call(forward, threads, {X, W, none(TYPE)}, {&A, &places}, told);
  call(backward, threads, {X, W, none(TYPE), places, dA}, {&dX, &dW, &db}, told);
  if (compare) {
    std::vector<double> a(A.numbers.size()), dx(X.numbers.size()), dw(W.numbers.size());
    for (int64_t image = 0; image < n; image++)
      for (int64_t y = 0; y < H; y++)
        for (int64_t x = 0; x < V; x++)
          for (int64_t tap = 0; tap < i * i * c; tap++) {
            const int64_t at = ((image * h + y + tap / c / i) * w + x + tap / c % i) * c + tap % c;
            const int64_t cell = ((image * H + y) * V + x) * k;
            for (int64_t f = 0; f < k; f++) {
              a[cell + f] += double(X[at]) * W[tap * k + f];
              dx[at] += double(dA[cell + f]) * W[tap * k + f];
              dw[tap * k + f] += double(dA[cell + f]) * X[at];
            }
          }
    near("convolution A", A, a), near("convolution dX", dX, dx), near("convolution dW", dW, dw);
  }
  return {A, dX, dW};
}

Arrays convolution(Threads& threads, int64_t limit, uint32_t seed, bool compare) {
  return convolved(threads, limit, seed, compare, KERNEL(convolution_forward), KERNEL(convolution_backward),
                   {6, 18, 17, 5, 21}, nullptr);
}

#if !defined(LAMINA_HALF)
// Tiles of 4 × 4 results, split over threads by images; and of so many weights that panels are split instead.
constexpr int64_t SIDE = 4;
Arrays winograd(Threads& threads, int64_t limit, uint32_t seed, bool compare) {
  return convolved(threads, limit, seed, compare, products_forward, products_backward, {6, 18, 17, 5, 21},
                   &SIDE);
}
Arrays winograd_by_panels(Threads& threads, int64_t limit, uint32_t seed, bool compare) {
  return convolved(threads, limit, seed, compare, products_forward, products_backward, {1, 6, 7, 256, 256},
                   &SIDE);
}
#endif

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// The states of an LSTM; the gradient of the sum of the last ones against a difference quotient along W_h.
Arrays lstm(Threads& threads, int64_t limit, uint32_t seed, bool compare) {
  const int64_t t = 7, n = 9, m = 5, h = 13, padded = (h + LANES - 1) / LANES * LANES;
  const Array X = random({t, n, m}, seed), W_x = random({m, 4 * h}, seed + 1);
  const Array W_h = random({h, 4 * h}, seed + 2), b = random({4 * h}, seed + 3);
  const Array zeros = Array::of({n, h}), steps = none(XLA_FFI_DataType_S32);
  Array states = room({t + 1, n, padded}), c = Array::of({t + 1, n, padded}),
        gates = room({t, n, 4 * padded});
  call(KERNEL(lstm_forward), threads, {X, W_x, W_h, b, zeros, zeros, steps}, {&states, &c, &gates},
       {{{"threads", limit}}, {{"reverse", false}, {"keep", true}}});
  const auto last = [&](double along) {
    std::vector<double> H(n * h), C(n * h);
    for (int64_t s = 0; s < t; s++) {
      const std::vector<double> before = H;
      for (int64_t row = 0; row < n; row++)
        for (int64_t j = 0; j < h; j++) {
          double p[4];
          for (int64_t g = 0; g < 4; g++) {
            p[g] = b[g * h + j];
            for (int64_t l = 0; l < m; l++)
              p[g] += double(X[(s * n + row) * m + l]) * W_x[l * 4 * h + g * h + j];
            for (int64_t l = 0; l < h; l++) p[g] += before[row * h + l] * W_h[l * 4 * h + g * h + j] * along;
          }
          double& cell = C[row * h + j];
          cell = sigmoid(p[1]) * cell + sigmoid(p[0]) * std::tanh(p[2]);
          H[row * h + j] = sigmoid(p[3]) * std::tanh(cell);
        }
    }
    return H;
  };
  Array ones = zeros, dX = room({t, n, m}), dW_x = W_x, dW_h = W_h, db = b, dh = zeros, dc = zeros;
  for (float& x : ones.numbers) x = 1;
  call(KERNEL(lstm_backward), threads, {X, W_x, W_h, states, c, gates, steps, none(TYPE), ones, zeros},
       {&dX, &dW_x, &dW_h, &db, &dh, &dc}, {{{"threads", limit}}, {{"reverse", false}}});
  if (compare) {
    Array found = Array::of({n, h}), along = Array::of({1});
    for (int64_t row = 0; row < n; row++)
      for (int64_t j = 0; j < h; j++) found[row * h + j] = states[(t * n + row) * padded + j];
    near("lstm states", found, last(1));
    const double step = 1e-4;
    double quotient = 0, ours = 0;
    const std::vector<double> more = last(1 + step), less = last(1 - step);
    for (size_t i = 0; i < more.size(); i++) quotient += (more[i] - less[i]) / (2 * step);
    for (size_t i = 0; i < W_h.numbers.size(); i++) ours += double(W_h[i]) * dW_h[i];
    along[0] = float(ours);
    near("lstm dW_h along W_h", along, {quotient});
  }
  return {states, dX, dW_x, dW_h, db};
}

bool equal(const Arrays& some, const Arrays& others) {
  for (size_t i = 0; i < some.size(); i++)
    if (std::memcmp(some[i].numbers.data(), others[i].numbers.data(), some[i].numbers.size() * 4))
      return false;
  return true;
}

void check(const char* name, Arrays (*kernel)(Threads&, int64_t, uint32_t, bool)) {
  constexpr int CALLERS = 4, CALLS = 3;
  Threads threads(3);
  std::vector<Arrays> alone;
  for (uint32_t seed = 0; seed < CALLERS; seed++) alone.push_back(kernel(threads, 0, seed, true));
  if (threads.scheduled == 0) fail(std::string(name) + " expected to use the pool");
  std::vector<std::thread> callers;
  for (uint32_t seed = 0; seed < CALLERS; seed++)
    callers.emplace_back([&, seed] {
      for (int i = 0; i < CALLS; i++)
        if (!equal(kernel(threads, 0, seed, false), alone[seed])) fail(std::string(name) + " differs");
    });
  for (std::thread& caller : callers) caller.join();
  const int64_t before = threads.scheduled;
  kernel(threads, 1, 0, true);
  if (threads.scheduled != before) fail(std::string(name) + " used the pool where one thread was allowed");
  std::printf("%s: right, also by %d threads at once, and alone where it must be\n", name, CALLERS);
}

}  // namespace
}  // namespace lamina::tests

int main() {
  using namespace lamina::tests;
  const std::string best = instruction_set(), compiled = COMPILED_FOR;
  if (best != compiled && !(best == "avx512" && compiled == "avx2")) {
    std::printf("skipped: this processor lacks %s\n", COMPILED_FOR);
    return 0;
  }
  std::printf("%s%s\n", COMPILED_FOR,
              TYPE == XLA_FFI_DataType_BF16 ? " in bfloat16, its tiles emulated" : "");
  check("dense", dense);
  check("convolution", convolution);
#if !defined(LAMINA_HALF)
  check("convolution by tiles", winograd);
  check("convolution by tiles and panels", winograd_by_panels);
#endif
  check("lstm", lstm);
}
