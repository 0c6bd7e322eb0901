// The dense layer, A = σ(X W + 1 bᵀ), and its backward rule:
//
//   dY = dA ∘ σ'(A)        dX = dY Wᵀ        dW = Xᵀ dY        db = dYᵀ 1
//
// twin of src/lamina/kernels/dense.py, with σ linear or relu. Source: Goodfellow, Bengio and Courville,
// Deep Learning, algorithm 6.4; for the products Goto and van de Geijn 2008.
#include "arrays.h"
#include "lanes.h"
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
  Matrix rows_from(int64_t first, int64_t count) const {
    return {data + first * row_stride, count, columns, row_stride, column_stride};
  }
  Matrix columns_from(int64_t first, int64_t count) const {
    return {data + first * column_stride, rows, count, row_stride, column_stride};
  }
};

Matrix whole(const float* data, int64_t rows, int64_t columns) { return {data, rows, columns, columns, 1}; }

// What a product begins with, a bias, null for zero, or what C holds; and what happens to it before it is
// stored.
struct Finish {
  const float* bias = nullptr;
  bool relu = false, add = false;
};

// B as rows of `width`, zero beyond its columns.
void pack_panel(float* panel, const Matrix& B, int64_t width) {
  if (B.columns < width) std::fill_n(panel, B.rows * width, 0.0f);
  if (B.column_stride == 1) {
    for (int64_t k = 0; k < B.rows; k++) memcpy(panel + k * width, B.data + k * B.row_stride, B.columns * 4);
    return;
  }
  // Columns are without gaps, then: LANES x LANES numbers at a time.
  for (int64_t k = 0; k < B.rows; k += LANES)
    for (int64_t j = 0; j < B.columns; j += LANES) {
      const int64_t rows = std::min<int64_t>(LANES, B.rows - k),
                    columns = std::min<int64_t>(LANES, B.columns - j);
      Vector block[LANES];
      UNROLL for (int i = 0; i < LANES; i++) block[i] =
          i < columns ? load_lanes(B.data + k + (j + i) * B.column_stride, rows) : Vector{};
      transpose(block);
      for (int64_t i = 0; i < rows; i++) store(panel + (k + i) * width + j, block[i]);
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
    float* to = C + (rows.begin + first) * C_stride;
    if (finish.add)
      load_tile(tile, to, C_stride);
    else
      load_tile(tile, bias, 0);
    const float* a = A.data + (rows.begin + first) * A.row_stride;
    if (A.column_stride == 1)
      multiply_add<R, V>(tile, a, A.row_stride, 1, panel, panel_stride, A.columns);
    else
      multiply_add<R, V>(tile, a, 1, A.column_stride, panel, panel_stride, A.columns);
    if (finish.relu) relu_tile(tile);
    store_tile_part(tile, to, C_stride, columns);
  });
}

// The same from B's columns, packed some rows at a time: a panel of so many lies in the nearest cache while
// all rows of A pass by. Not packed, and all at once, where few rows pass; and all at once where columns are
// fewer than the panel's, since C has no room for the others.
template <int V>
void multiply_columns(const Matrix& A, const Matrix& B, float* C, int64_t C_stride, Rows rows,
                      const Finish& finish, float* packed) {
  constexpr int64_t WIDTH = V * LANES, FEW_ROWS = 16, DEPTH = 256;
  if (B.columns == WIDTH && B.column_stride == 1 && rows.size() <= FEW_ROWS)
    return multiply_panel<V>(A, B.data, B.row_stride, C, C_stride, rows, WIDTH, finish);
  const int64_t step = B.columns == WIDTH ? DEPTH : std::max<int64_t>(1, B.rows);
  for (int64_t k = 0; k == 0 || k < B.rows; k += step) {
    const int64_t count = std::min(step, B.rows - k);
    pack_panel(packed, B.rows_from(k, count), WIDTH);
    Finish part = finish;
    part.add = k > 0, part.relu = finish.relu && k + step >= B.rows;
    multiply_panel<V>(A.columns_from(k, count), packed, WIDTH, C, C_stride, rows, B.columns, part);
  }
}

// C = finish(A B), C (A.rows, B.columns) without gaps; A is stored by rows or by columns.
//
// Panels of columns are split over the threads, and rows too where there are few panels.
void multiply(Pool& pool, int64_t threads, Workspace& work, const Matrix& A, const Matrix& B, float* C,
              Finish finish = {}) {
  if (A.rows == 0 || B.columns == 0) return;
  with_panel_width(B.columns, [&](auto V) {
    constexpr int64_t WIDTH = V * LANES, LEAST_WORK = 1 << 16;
    const int64_t panels = round_up(B.columns, WIDTH) / WIDTH;
    const int64_t most = std::max<int64_t>(1, A.rows * B.columns * A.columns / LEAST_WORK);
    const int64_t use = thread_count(pool, threads), parts = std::min(2 * use, most);
    const int64_t splits = std::min(std::max<int64_t>(1, parts / panels), std::max<int64_t>(1, A.rows));
    float* packed = work.take(parts * B.rows * WIDTH);
    parallel_for(pool, parts, use, [&](int64_t part) {
      const Rows mine(panels * splits, part, parts);
      for (int64_t i = mine.begin; i < mine.end; i++) {
        const int64_t first = i / splits * WIDTH, count = std::min(WIDTH, B.columns - first);
        Finish here = finish;
        if (here.bias) here.bias += first;
        multiply_columns<V>(A, B.columns_from(first, count), C + first, B.columns,
                            Rows(A.rows, i % splits, splits), here, packed + part * B.rows * WIDTH);
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

// dY = dA where relu's output is not zero, or is dA where A is null; db, unless it is null, are its sums.
// (Where the output is not a number, neither was the loss.) Threads take columns, some vectors of them at a
// time.
const float* gradient(Pool& pool, int64_t threads, Workspace& work, const float* A, const float* dA,
                      float* db, int64_t n, int64_t k) {
  constexpr int64_t LEAST_NUMBERS = 1 << 14;
  float* dY = A ? work.take(n * k) : nullptr;
  const int64_t parts =
      std::clamp<int64_t>(std::min(n * k / LEAST_NUMBERS, k / (4 * LANES)), 1, thread_count(pool, threads));
  if (A || db)
    parallel_for(pool, parts, [&](int64_t part) {
      const Rows own(round_up(k, LANES) / LANES, part, parts);
      for (int64_t j = own.begin * LANES; j < std::min(own.end * LANES, k); j += LANES) {
        Vector sum = {};
        for (int64_t at = j; at < n * k; at += k) {
          Vector dy = load_lanes(dA + at, k - j);
          if (A) store_lanes(dY + at, dy = load_lanes(A + at, k - j) > 0.0f ? dy : Vector{}, k - j);
          sum += dy;
        }
        if (db) store_lanes(db + j, sum, k - j);
      }
    });
  return A ? dY : dA;
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
  const Matrix dY = whole(gradient(pool, threads, work, A.element_count() ? A.typed_data() : nullptr,
                                   dA.typed_data(), db->element_count() ? db->typed_data() : nullptr, n, k),
                          n, k);
  weight_gradient(pool, threads, work, whole(X.typed_data(), n, m), dY, dW->typed_data());
  if (dX->element_count())
    multiply(pool, threads, work, dY, whole(W.typed_data(), m, k).transposed(), dX->typed_data());
  return Status::Success();
}

}  // namespace

}  // namespace lamina

EXPORT(dense_forward, lamina::bound(lamina::forward, "relu", "threads"))
EXPORT(dense_backward, lamina::bound(lamina::backward, "threads"))
