// The dense layer, A = σ(X W + 1 bᵀ), and its backward rule:
//
//   dY = dA ∘ σ'(A)        dX = dY Wᵀ        dW = Xᵀ dY        db = dYᵀ 1
//
// twin of src/lamina/kernels/dense.py, with σ linear or relu. Source: Goodfellow, Bengio and Courville,
// Deep Learning, algorithm 6.4; for the products Goto and van de Geijn 2008.
#include "arrays.h"
#include "matrix.h"
#include "threads.h"
#include "workspace.h"

namespace lamina {
namespace {

// A matrix that is read: entry (i, j) at data[i * row_stride + j * column_stride].
struct Matrix {
  const float* data;
  int64_t rows, columns, row_stride, column_stride;
  Matrix transposed() const { return {data, columns, rows, column_stride, row_stride}; }
};

Matrix whole(const float* data, int64_t rows, int64_t columns) { return {data, rows, columns, columns, 1}; }

// What happens to a product before it is stored; bias may be null.
struct Finish {
  const float* bias = nullptr;
  bool relu = false;
};

// Columns [first, first + count) of B as rows of `width`, zero beyond `count`.
void pack_panel(float* panel, const Matrix& B, int64_t first, int64_t count, int64_t width) {
  const float* from = B.data + first * B.column_stride;
  if (count < width) std::fill_n(panel, B.rows * width, 0.0f);
  if (B.column_stride == 1) {
    for (int64_t k = 0; k < B.rows; k++) memcpy(panel + k * width, from + k * B.row_stride, count * 4);
    return;
  }
  constexpr int64_t BLOCK = 16;  // a cache line of each column at a time
  for (int64_t begin = 0; begin < B.rows; begin += BLOCK) {
    const int64_t end = std::min(begin + BLOCK, B.rows);
    for (int64_t j = 0; j < count; j++)
      for (int64_t k = begin; k < end; k++)
        panel[k * width + j] = from[k * B.row_stride + j * B.column_stride];
  }
}

// Rows [begin, end) of C = A B in the columns of one panel; C's rows are C_stride apart.
template <int V>
void multiply_panel(const Matrix& A, const float* panel, int64_t panel_stride, float* C, int64_t C_stride,
                    Rows rows, int64_t columns, const Finish& finish) {
  float bias[V * LANES] = {};
  if (finish.bias) memcpy(bias, finish.bias, columns * 4);
  for_tiles<TILE_ROWS<V>>(rows.size(), [&](auto R, int64_t first) {
    Vector tile[R][V];
    load_tile(tile, bias, 0);
    const float* a = A.data + (rows.begin + first) * A.row_stride;
    if (A.column_stride == 1)
      multiply_add<R, V>(tile, a, A.row_stride, 1, panel, panel_stride, A.columns);
    else
      multiply_add<R, V>(tile, a, 1, A.column_stride, panel, panel_stride, A.columns);
    if (finish.relu) relu_tile(tile);
    store_tile_part(tile, C + (rows.begin + first) * C_stride, C_stride, columns);
  });
}

// C = finish(A B), C (A.rows, B.columns) without gaps; A is stored by rows or by columns.
//
// Panels of columns are split over the threads, and rows too where there are few panels. A panel is
// packed, so that it is read in order, unless it is used for a few rows only.
void multiply(Pool& pool, int64_t threads, Workspace& work, const Matrix& A, const Matrix& B, float* C,
              Finish finish = {}) {
  if (A.rows == 0 || B.columns == 0) return;
  with_panel_width(B.columns, [&](auto V) {
    constexpr int64_t WIDTH = V * LANES, FEW_ROWS = 16, LEAST_WORK = 1 << 16;
    const int64_t panels = round_up(B.columns, WIDTH) / WIDTH;
    const int64_t most = std::max<int64_t>(1, A.rows * B.columns * A.columns / LEAST_WORK);
    const int64_t use = thread_count(pool, threads), parts = std::min(2 * use, most);
    const int64_t splits = std::min(std::max<int64_t>(1, parts / panels), std::max<int64_t>(1, A.rows));
    float* packed = work.take(parts * B.rows * WIDTH);
    parallel_for(pool, parts, use, [&](int64_t part) {
      const Rows mine(panels * splits, part, parts);
      float* own = packed + part * B.rows * WIDTH;
      for (int64_t i = mine.begin; i < mine.end; i++) {
        const int64_t first = i / splits * WIDTH, count = std::min(WIDTH, B.columns - first);
        const bool in_place = A.rows <= FEW_ROWS && B.column_stride == 1 && count == WIDTH;
        if (!in_place && (i == mine.begin || i % splits == 0)) pack_panel(own, B, first, count, WIDTH);
        Finish here = finish;
        if (here.bias) here.bias += first;
        multiply_panel<V>(A, in_place ? B.data + first : own, in_place ? B.row_stride : WIDTH, C + first,
                          B.columns, Rows(A.rows, i % splits, splits), count, here);
      }
    });
  });
}

Status forward(Pool pool, Array X, Array W, Array b, Result A, bool relu, int64_t threads) {
  const int64_t n = X.dimensions()[0], m = X.dimensions()[1], k = W.dimensions()[1];
  Workspace work;
  multiply(pool, threads, work, whole(X.typed_data(), n, m), whole(W.typed_data(), m, k), A->typed_data(),
           {b.element_count() ? b.typed_data() : nullptr, relu});
  return Status::Success();
}

// dY = dA where relu's output is not zero. (Where that is not a number, neither was the loss.)
void mask(const float* A, const float* dA, float* dY, int64_t count) {
  for (int64_t i = 0; i < count; i++) dY[i] = A[i] > 0.0f ? dA[i] : 0.0f;
}

void sum_rows(const float* dY, float* db, int64_t n, int64_t k) {
  std::fill_n(db, k, 0.0f);
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < k; j++) db[j] += dY[i * k + j];
}

// dW = Xᵀ dY; for few units as the transpose of dYᵀ X, which reads X once and in order.
void weight_gradient(Pool& pool, int64_t threads, Workspace& work, const Matrix& X, const Matrix& dY,
                     float* dW) {
  const int64_t m = X.columns, k = dY.columns;
  if (k > LANES || m <= LANES) return multiply(pool, threads, work, X.transposed(), dY, dW);
  float* turned = work.take(k * m);
  multiply(pool, threads, work, dY.transposed(), X, turned);
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < k; j++) dW[i * k + j] = turned[j * m + i];
}

// A is empty where σ is linear; dX and db may be empty, and are then not computed.
Status backward(Pool pool, Array X, Array W, Array A, Array dA, Result dX, Result dW, Result db,
                int64_t threads) {
  const int64_t n = X.dimensions()[0], m = X.dimensions()[1], k = W.dimensions()[1];
  Workspace work;
  const float* slope = dA.typed_data();
  if (A.element_count()) {
    float* masked = work.take(n * k);
    mask(A.typed_data(), slope, masked, n * k);
    slope = masked;
  }
  const Matrix dY = whole(slope, n, k);
  if (db->element_count()) sum_rows(slope, db->typed_data(), n, k);
  weight_gradient(pool, threads, work, whole(X.typed_data(), n, m), dY, dW->typed_data());
  if (dX->element_count())
    multiply(pool, threads, work, dY, whole(W.typed_data(), m, k).transposed(), dX->typed_data());
  return Status::Success();
}

}  // namespace

}  // namespace lamina

EXPORT(dense_forward, lamina::bound(lamina::forward, "relu", "threads"))
EXPORT(dense_backward, lamina::bound(lamina::backward, "threads"))
