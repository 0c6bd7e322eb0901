// The dense layer in bfloat16, A = σ(X W + 1 bᵀ), and its backward rule:
//
//   dY = dA ∘ σ'(A)        dX = dY Wᵀ        dW = Xᵀ dY        db = dYᵀ 1
//
// twin of src/lamina/kernels/dense.py, with σ linear or relu; dense.cc is the one in float32. Products are of
// bfloat16 numbers, their sums floats, rounded once at the end. All is padded to blocks of 32 x 32, four
// tiles of the result each (half_panels.h).
#include "half_panels.h"

namespace lamina {
namespace {

// Where a product goes: (rows, columns) without gaps, after a bias, which may be null, and σ.
struct Finish {
  Half* to;
  int64_t rows, columns;
  const Half* bias = nullptr;
  bool relu = false;

  // The block at (row, column), of which some may be padding.
  void store(const float (&block)[DEPTH][DEPTH], int64_t row, int64_t column) const {
    for (int64_t j = 0; j < DEPTH && column + j < columns; j += LANES) {
      const int64_t lanes = columns - column - j;
      const Vector b = bias ? widened(load_halves(bias + column + j, lanes)) : Vector{};
      for (int64_t i = 0; i < DEPTH && row + i < rows; i++) {
        const Vector y = load(block[i] + j) + b;
        store_halves(to + (row + i) * columns + column + j, rounded(relu ? lamina::relu(y) : y), lanes);
      }
    }
  }
};

// finish(A B): B is packed. Blocks of the result are dealt to the threads panel by panel.
void multiply(Pool& pool, int64_t threads, const Padded& A, const Half* B, const Finish& finish) {
  constexpr int64_t LEAST_BLOCKS = 16;  // of products: what is worth another thread
  const int64_t down = A.rows / DEPTH, blocks = down * (round_up(finish.columns, DEPTH) / DEPTH);
  const int64_t most = std::max<int64_t>(1, blocks * (A.columns / DEPTH) / LEAST_BLOCKS);
  const int64_t use = thread_count(pool, threads), parts = std::min({2 * use, most, blocks});
  parallel_for(pool, parts, use, [&](int64_t part) {
    const Rows own(blocks, part, parts);
    Tiles<2, 2> tiles;
    for (int64_t i = own.begin; i < own.end; i++) {
      const int64_t panel = i / down, row = i % down * DEPTH;
      tiles.clear();
      tiles.multiply_add(A.data + row * A.columns, A.columns, B + panel * DEPTH * A.columns, 2 * PACKED,
                         A.columns);
      alignas(64) float block[DEPTH][DEPTH];
      tiles.store(block[0], DEPTH);
      finish.store(block, row, panel * DEPTH);
    }
  });
}

Status forward(Pool pool, HalfArray X, HalfArray W, HalfArray b, HalfResult A, bool relu, int64_t threads) {
  const int64_t n = X.dimensions()[0], m = X.dimensions()[1], k = W.dimensions()[1];
  if (n == 0 || k == 0) return Status::Success();
  Workspace work;
  const Padded padded_X = pad(pool, threads, work, X.typed_data(), n, m);
  const Padded padded_W = pad(pool, threads, work, W.typed_data(), m, k);
  multiply(pool, threads, padded_X, pack(pool, threads, work, padded_W, false),
           {A->typed_data(), n, k, b.element_count() ? b.typed_data() : nullptr, relu});
  return Status::Success();
}

// dY, padded: dA where relu's output, if A is given, is not zero.
Padded gradient(Pool& pool, int64_t threads, Workspace& work, const Half* A, const Half* dA, int64_t n,
                int64_t k) {
  const Padded padded = pad(pool, threads, work, dA, n, k);
  if (!A) return padded;
  Half* to = padded.data == dA ? take_halves(work, n * k) : const_cast<Half*>(padded.data);
  const int64_t parts = thread_count(pool, threads);
  parallel_for(pool, parts, [&](int64_t part) {
    const Rows own(n, part, parts);
    for (int64_t i = own.begin; i < own.end; i++)
      for (int64_t j = 0; j < k; j += LANES) {
        const Halves kept =
            (Halves) __builtin_convertvector(widened(load_halves(A + i * k + j, k - j)) > 0.0f, Halves);
        store_halves(to + i * padded.columns + j, load_halves(dA + i * k + j, k - j) & kept, k - j);
      }
  });
  return {to, padded.rows, padded.columns};
}

// db: the columns' sums, as floats.
void sum_rows(const Padded& dY, int64_t n, int64_t k, Half* db) {
  for (int64_t j = 0; j < k; j += LANES) {
    Vector sum = {};
    for (int64_t i = 0; i < n; i++) sum += widened(load_halves(dY.data + i * dY.columns + j));
    store_halves(db + j, rounded(sum), k - j);
  }
}

// Xᵀ by all threads.
Padded turned(Pool& pool, int64_t threads, Workspace& work, const Padded& X) {
  Half* to = take_halves(work, X.rows * X.columns);
  parallel_for(pool, X.columns / DEPTH, thread_count(pool, threads), [&](int64_t i) {
    transpose(X.data + i * DEPTH, X.columns, to + i * DEPTH * X.rows, X.rows, X.rows, DEPTH);
  });
  return {to, X.columns, X.rows};
}

// A is empty where σ is linear; dX and db may be empty, and are then not computed.
Status backward(Pool pool, HalfArray X, HalfArray W, HalfArray A, HalfArray dA, HalfResult dX, HalfResult dW,
                HalfResult db, int64_t threads) {
  const int64_t n = X.dimensions()[0], m = X.dimensions()[1], k = W.dimensions()[1];
  Workspace work;
  const Padded dY =
      gradient(pool, threads, work, A.element_count() ? A.typed_data() : nullptr, dA.typed_data(), n, k);
  if (db->element_count()) sum_rows(dY, n, k, db->typed_data());
  if (dW->element_count())
    multiply(pool, threads, turned(pool, threads, work, pad(pool, threads, work, X.typed_data(), n, m)),
             pack(pool, threads, work, dY, false), {dW->typed_data(), m, k});
  if (dX->element_count())
    multiply(pool, threads, dY,
             pack(pool, threads, work, pad(pool, threads, work, W.typed_data(), m, k), true),
             {dX->typed_data(), n, m});
  return Status::Success();
}

}  // namespace
}  // namespace lamina

EXPORT(half_dense_forward, lamina::bound(lamina::forward, "relu", "threads"))
EXPORT(half_dense_backward, lamina::bound(lamina::backward, "threads"))
